CREATE TABLE "dhcp_options" (
	"id" text PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "dhcp_options_project_id_unique" UNIQUE("project_id")
);
--> statement-breakpoint
CREATE TABLE "internet_gateways" (
	"id" text PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"vpc_id" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "internet_gateways_vpc_id_unique" UNIQUE("vpc_id")
);
--> statement-breakpoint
CREATE TABLE "network_acls" (
	"id" text PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"vpc_id" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "network_acls_vpc_id_unique" UNIQUE("vpc_id")
);
--> statement-breakpoint
CREATE TABLE "route_table_associations" (
	"id" text PRIMARY KEY NOT NULL,
	"vpc_id" text NOT NULL,
	"route_table_id" text NOT NULL,
	"subnet_id" text,
	CONSTRAINT "route_table_associations_subnet_id_unique" UNIQUE("subnet_id")
);
--> statement-breakpoint
CREATE TABLE "route_tables" (
	"id" text PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"vpc_id" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "routes" (
	"route_table_id" text NOT NULL,
	"destination" text NOT NULL,
	"gateway_id" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "routes_route_table_id_destination_pk" PRIMARY KEY("route_table_id","destination")
);
--> statement-breakpoint
CREATE TABLE "subnets" (
	"id" text PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"vpc_id" text NOT NULL,
	"network_id" text NOT NULL,
	"cidr" text NOT NULL,
	"zone" text NOT NULL,
	"is_default" boolean NOT NULL,
	"map_public_ip_on_launch" boolean NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "vpcs" (
	"id" text PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"cidr" text NOT NULL,
	"is_default" boolean NOT NULL,
	"enable_dns_hostnames" boolean NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
DROP INDEX "security_groups_project_name";--> statement-breakpoint
ALTER TABLE "instances" ADD COLUMN "subnet_id" text;--> statement-breakpoint
ALTER TABLE "instances" ADD COLUMN "has_public_address" boolean DEFAULT true NOT NULL;--> statement-breakpoint
ALTER TABLE "instances" ADD COLUMN "wished_address" text;--> statement-breakpoint
ALTER TABLE "security_groups" ADD COLUMN "vpc_id" text;--> statement-breakpoint
ALTER TABLE "dhcp_options" ADD CONSTRAINT "dhcp_options_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "internet_gateways" ADD CONSTRAINT "internet_gateways_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "internet_gateways" ADD CONSTRAINT "internet_gateways_vpc_id_vpcs_id_fk" FOREIGN KEY ("vpc_id") REFERENCES "public"."vpcs"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "network_acls" ADD CONSTRAINT "network_acls_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "network_acls" ADD CONSTRAINT "network_acls_vpc_id_vpcs_id_fk" FOREIGN KEY ("vpc_id") REFERENCES "public"."vpcs"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "route_table_associations" ADD CONSTRAINT "route_table_associations_vpc_id_vpcs_id_fk" FOREIGN KEY ("vpc_id") REFERENCES "public"."vpcs"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "route_table_associations" ADD CONSTRAINT "route_table_associations_route_table_id_route_tables_id_fk" FOREIGN KEY ("route_table_id") REFERENCES "public"."route_tables"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "route_table_associations" ADD CONSTRAINT "route_table_associations_subnet_id_subnets_id_fk" FOREIGN KEY ("subnet_id") REFERENCES "public"."subnets"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "route_tables" ADD CONSTRAINT "route_tables_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "route_tables" ADD CONSTRAINT "route_tables_vpc_id_vpcs_id_fk" FOREIGN KEY ("vpc_id") REFERENCES "public"."vpcs"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "routes" ADD CONSTRAINT "routes_route_table_id_route_tables_id_fk" FOREIGN KEY ("route_table_id") REFERENCES "public"."route_tables"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "subnets" ADD CONSTRAINT "subnets_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "subnets" ADD CONSTRAINT "subnets_vpc_id_vpcs_id_fk" FOREIGN KEY ("vpc_id") REFERENCES "public"."vpcs"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "subnets" ADD CONSTRAINT "subnets_network_id_networks_id_fk" FOREIGN KEY ("network_id") REFERENCES "public"."networks"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "vpcs" ADD CONSTRAINT "vpcs_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "internet_gateways_project_id_index" ON "internet_gateways" USING btree ("project_id");--> statement-breakpoint
CREATE INDEX "network_acls_project_id_index" ON "network_acls" USING btree ("project_id");--> statement-breakpoint
CREATE INDEX "route_table_associations_route_table_id_index" ON "route_table_associations" USING btree ("route_table_id");--> statement-breakpoint
CREATE UNIQUE INDEX "route_table_associations_one_main" ON "route_table_associations" USING btree ("vpc_id") WHERE "route_table_associations"."subnet_id" is null;--> statement-breakpoint
CREATE INDEX "route_tables_project_id_index" ON "route_tables" USING btree ("project_id");--> statement-breakpoint
CREATE INDEX "route_tables_vpc_id_index" ON "route_tables" USING btree ("vpc_id");--> statement-breakpoint
CREATE INDEX "subnets_project_id_index" ON "subnets" USING btree ("project_id");--> statement-breakpoint
CREATE INDEX "subnets_vpc_id_index" ON "subnets" USING btree ("vpc_id");--> statement-breakpoint
CREATE INDEX "subnets_network_id_index" ON "subnets" USING btree ("network_id");--> statement-breakpoint
CREATE UNIQUE INDEX "subnets_one_default" ON "subnets" USING btree ("project_id") WHERE "subnets"."is_default";--> statement-breakpoint
CREATE UNIQUE INDEX "subnets_cidr" ON "subnets" USING btree ("vpc_id","cidr");--> statement-breakpoint
CREATE INDEX "vpcs_project_id_index" ON "vpcs" USING btree ("project_id");--> statement-breakpoint
CREATE UNIQUE INDEX "vpcs_one_default" ON "vpcs" USING btree ("project_id") WHERE "vpcs"."is_default";--> statement-breakpoint
ALTER TABLE "instances" ADD CONSTRAINT "instances_subnet_id_subnets_id_fk" FOREIGN KEY ("subnet_id") REFERENCES "public"."subnets"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "security_groups" ADD CONSTRAINT "security_groups_vpc_id_vpcs_id_fk" FOREIGN KEY ("vpc_id") REFERENCES "public"."vpcs"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "instances_subnet_id_index" ON "instances" USING btree ("subnet_id");--> statement-breakpoint
CREATE UNIQUE INDEX "security_groups_default_vpc_name" ON "security_groups" USING btree ("project_id","name") WHERE "security_groups"."vpc_id" is null;--> statement-breakpoint
CREATE UNIQUE INDEX "security_groups_vpc_name" ON "security_groups" USING btree ("vpc_id","name");