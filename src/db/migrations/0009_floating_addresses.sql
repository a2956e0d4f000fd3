CREATE TABLE "floating_addresses" (
	"address" text PRIMARY KEY NOT NULL,
	"pool" text NOT NULL,
	"position" bigint NOT NULL,
	"project_id" text,
	"allocation_id" text,
	"domain" text DEFAULT 'vpc' NOT NULL,
	"instance_id" text,
	"association_id" text,
	"released_at" timestamp (3) with time zone,
	CONSTRAINT "floating_addresses_allocation_id_unique" UNIQUE("allocation_id"),
	CONSTRAINT "floating_addresses_association_id_unique" UNIQUE("association_id")
);
--> statement-breakpoint
ALTER TABLE "floating_addresses" ADD CONSTRAINT "floating_addresses_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "floating_addresses" ADD CONSTRAINT "floating_addresses_instance_id_instances_id_fk" FOREIGN KEY ("instance_id") REFERENCES "public"."instances"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "floating_addresses_pool_project_id_position_index" ON "floating_addresses" USING btree ("pool","project_id","position");--> statement-breakpoint
CREATE INDEX "floating_addresses_project_id_index" ON "floating_addresses" USING btree ("project_id");--> statement-breakpoint
CREATE UNIQUE INDEX "floating_addresses_one_an_instance" ON "floating_addresses" USING btree ("instance_id");