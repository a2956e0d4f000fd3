CREATE TABLE "hosts" (
	"name" text PRIMARY KEY NOT NULL,
	"zone" text NOT NULL,
	"enabled" boolean DEFAULT true NOT NULL,
	"hypervisor" text NOT NULL,
	"cores" integer NOT NULL,
	"memory_mib" integer NOT NULL,
	"disk_gib" integer NOT NULL,
	"claimed_cores" integer DEFAULT 0 NOT NULL,
	"claimed_memory_mib" integer DEFAULT 0 NOT NULL,
	"claimed_disk_gib" integer DEFAULT 0 NOT NULL,
	"boot_id" text NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "services" (
	"host" text NOT NULL,
	"role" text NOT NULL,
	"epoch" bigint NOT NULL,
	"started_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "services_host_role_pk" PRIMARY KEY("host","role")
);
--> statement-breakpoint
CREATE TABLE "settings" (
	"key" text PRIMARY KEY NOT NULL,
	"value" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "access_keys" (
	"id" text PRIMARY KEY NOT NULL,
	"user_id" text NOT NULL,
	"project_id" text,
	"sealed_secret" text NOT NULL,
	"enabled" boolean DEFAULT true NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "global_roles" (
	"user_id" text NOT NULL,
	"role" text NOT NULL,
	CONSTRAINT "global_roles_user_id_role_pk" PRIMARY KEY("user_id","role")
);
--> statement-breakpoint
CREATE TABLE "key_pairs" (
	"id" text PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"user_id" text NOT NULL,
	"name" text NOT NULL,
	"type" text NOT NULL,
	"fingerprint" text NOT NULL,
	"public_key" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "project_members" (
	"project_id" text NOT NULL,
	"user_id" text NOT NULL,
	CONSTRAINT "project_members_project_id_user_id_pk" PRIMARY KEY("project_id","user_id")
);
--> statement-breakpoint
CREATE TABLE "project_roles" (
	"project_id" text NOT NULL,
	"user_id" text NOT NULL,
	"role" text NOT NULL,
	CONSTRAINT "project_roles_project_id_user_id_role_pk" PRIMARY KEY("project_id","user_id","role")
);
--> statement-breakpoint
CREATE TABLE "projects" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"description" text NOT NULL,
	"manager_id" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "projects_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "users" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"is_admin" boolean DEFAULT false NOT NULL,
	"enabled" boolean DEFAULT true NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "users_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "image_launch_permissions" (
	"image_id" text NOT NULL,
	"project_id" text NOT NULL,
	CONSTRAINT "image_launch_permissions_image_id_project_id_pk" PRIMARY KEY("image_id","project_id")
);
--> statement-breakpoint
CREATE TABLE "images" (
	"id" text PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"name" text NOT NULL,
	"description" text DEFAULT '' NOT NULL,
	"location" text NOT NULL,
	"type" text NOT NULL,
	"architecture" text NOT NULL,
	"state" text NOT NULL,
	"state_reason_code" text,
	"state_reason" text,
	"is_public" boolean DEFAULT false NOT NULL,
	"kernel_id" text,
	"ramdisk_id" text,
	"root_device_name" text NOT NULL,
	"virtualization_type" text NOT NULL,
	"format" text,
	"size_bytes" bigint,
	"virtual_size_bytes" bigint,
	"sha256" text,
	"blob_id" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"state_changed_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "instance_security_groups" (
	"instance_id" text NOT NULL,
	"group_id" text NOT NULL,
	CONSTRAINT "instance_security_groups_instance_id_group_id_pk" PRIMARY KEY("instance_id","group_id")
);
--> statement-breakpoint
CREATE TABLE "instance_types" (
	"name" text PRIMARY KEY NOT NULL,
	"cores" integer NOT NULL,
	"memory_mib" integer NOT NULL,
	"root_gib" integer NOT NULL,
	"sort_order" integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE "instances" (
	"id" text PRIMARY KEY NOT NULL,
	"reservation_id" text NOT NULL,
	"project_id" text NOT NULL,
	"user_id" text NOT NULL,
	"launch_index" integer NOT NULL,
	"image_id" text NOT NULL,
	"kernel_id" text,
	"ramdisk_id" text,
	"instance_type" text NOT NULL,
	"cores" integer NOT NULL,
	"memory_mib" integer NOT NULL,
	"root_gib" integer NOT NULL,
	"architecture" text NOT NULL,
	"root_device_name" text NOT NULL,
	"key_name" text,
	"public_key" text,
	"user_data" text,
	"disable_api_termination" boolean DEFAULT false NOT NULL,
	"shutdown_behavior" text DEFAULT 'stop' NOT NULL,
	"state" text NOT NULL,
	"state_reason_code" text,
	"state_reason_message" text,
	"state_changed_at" timestamp (3) with time zone NOT NULL,
	"state_deadline" timestamp (3) with time zone,
	"zone" text NOT NULL,
	"host" text,
	"fence" integer DEFAULT 0 NOT NULL,
	"placements" integer DEFAULT 0 NOT NULL,
	"failed_hosts" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"mac" text NOT NULL,
	"hypervisor" text,
	"launched_at" timestamp (3) with time zone NOT NULL,
	"terminated_at" timestamp (3) with time zone,
	CONSTRAINT "instances_mac_unique" UNIQUE("mac")
);
--> statement-breakpoint
CREATE TABLE "reservations" (
	"id" text PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"user_id" text NOT NULL,
	"client_token" text,
	"request_digest" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "security_group_rules" (
	"id" text PRIMARY KEY NOT NULL,
	"group_id" text NOT NULL,
	"direction" text NOT NULL,
	"protocol" text NOT NULL,
	"from_port" integer NOT NULL,
	"to_port" integer NOT NULL,
	"cidr" text,
	"source_group_id" text,
	"description" text
);
--> statement-breakpoint
CREATE TABLE "security_groups" (
	"id" text PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"name" text NOT NULL,
	"description" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "tags" (
	"resource_id" text NOT NULL,
	"key" text NOT NULL,
	"project_id" text NOT NULL,
	"resource_type" text NOT NULL,
	"value" text NOT NULL,
	CONSTRAINT "tags_project_id_resource_id_key_pk" PRIMARY KEY("project_id","resource_id","key")
);
--> statement-breakpoint
CREATE TABLE "fixed_addresses" (
	"network_id" text NOT NULL,
	"address" text NOT NULL,
	"position" integer NOT NULL,
	"reserved" boolean DEFAULT false NOT NULL,
	"instance_id" text,
	"claimed_at" timestamp (3) with time zone,
	CONSTRAINT "fixed_addresses_network_id_address_pk" PRIMARY KEY("network_id","address")
);
--> statement-breakpoint
CREATE TABLE "networks" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"manager" text NOT NULL,
	"cidr" text NOT NULL,
	"gateway" text NOT NULL,
	"bridge" text NOT NULL,
	"mtu" integer NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "networks_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "blob_garbage" (
	"blob_id" text PRIMARY KEY NOT NULL,
	"since" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "buckets" (
	"name" text PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"acl" text DEFAULT 'private' NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "multipart_parts" (
	"upload_id" text NOT NULL,
	"part_number" integer NOT NULL,
	"blob_id" text NOT NULL,
	"size_bytes" bigint NOT NULL,
	"md5" text NOT NULL,
	"modified_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "multipart_parts_upload_id_part_number_pk" PRIMARY KEY("upload_id","part_number")
);
--> statement-breakpoint
CREATE TABLE "multipart_uploads" (
	"id" text PRIMARY KEY NOT NULL,
	"bucket" text NOT NULL,
	"key" text COLLATE "C" NOT NULL,
	"project_id" text NOT NULL,
	"headers" jsonb NOT NULL,
	"metadata" jsonb NOT NULL,
	"acl" text DEFAULT 'private' NOT NULL,
	"initiated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "objects" (
	"bucket" text NOT NULL,
	"key" text COLLATE "C" NOT NULL,
	"blob_id" text NOT NULL,
	"size_bytes" bigint NOT NULL,
	"etag" text NOT NULL,
	"headers" jsonb NOT NULL,
	"metadata" jsonb NOT NULL,
	"checksums" jsonb NOT NULL,
	"project_id" text NOT NULL,
	"acl" text DEFAULT 'private' NOT NULL,
	"modified_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "objects_bucket_key_pk" PRIMARY KEY("bucket","key")
);
--> statement-breakpoint
CREATE TABLE "operations" (
	"id" text PRIMARY KEY NOT NULL,
	"sequence" bigserial NOT NULL,
	"kind" text NOT NULL,
	"resource_id" text NOT NULL,
	"project_id" text NOT NULL,
	"user_id" text NOT NULL,
	"request_id" text NOT NULL,
	"input" jsonb NOT NULL,
	"state" text NOT NULL,
	"owner" text,
	"epoch" bigint DEFAULT 0 NOT NULL,
	"steps" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"error" text,
	"deadline" timestamp (3) with time zone NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "access_keys" ADD CONSTRAINT "access_keys_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "access_keys" ADD CONSTRAINT "access_keys_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "global_roles" ADD CONSTRAINT "global_roles_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "key_pairs" ADD CONSTRAINT "key_pairs_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "project_members" ADD CONSTRAINT "project_members_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "project_members" ADD CONSTRAINT "project_members_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "project_roles" ADD CONSTRAINT "project_roles_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "project_roles" ADD CONSTRAINT "project_roles_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "projects" ADD CONSTRAINT "projects_manager_id_users_id_fk" FOREIGN KEY ("manager_id") REFERENCES "public"."users"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "image_launch_permissions" ADD CONSTRAINT "image_launch_permissions_image_id_images_id_fk" FOREIGN KEY ("image_id") REFERENCES "public"."images"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "images" ADD CONSTRAINT "images_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "instance_security_groups" ADD CONSTRAINT "instance_security_groups_instance_id_instances_id_fk" FOREIGN KEY ("instance_id") REFERENCES "public"."instances"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "instance_security_groups" ADD CONSTRAINT "instance_security_groups_group_id_security_groups_id_fk" FOREIGN KEY ("group_id") REFERENCES "public"."security_groups"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "instances" ADD CONSTRAINT "instances_reservation_id_reservations_id_fk" FOREIGN KEY ("reservation_id") REFERENCES "public"."reservations"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "instances" ADD CONSTRAINT "instances_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "reservations" ADD CONSTRAINT "reservations_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "security_group_rules" ADD CONSTRAINT "security_group_rules_group_id_security_groups_id_fk" FOREIGN KEY ("group_id") REFERENCES "public"."security_groups"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "security_group_rules" ADD CONSTRAINT "security_group_rules_source_group_id_security_groups_id_fk" FOREIGN KEY ("source_group_id") REFERENCES "public"."security_groups"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "security_groups" ADD CONSTRAINT "security_groups_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "tags" ADD CONSTRAINT "tags_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "fixed_addresses" ADD CONSTRAINT "fixed_addresses_network_id_networks_id_fk" FOREIGN KEY ("network_id") REFERENCES "public"."networks"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "buckets" ADD CONSTRAINT "buckets_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "multipart_parts" ADD CONSTRAINT "multipart_parts_upload_id_multipart_uploads_id_fk" FOREIGN KEY ("upload_id") REFERENCES "public"."multipart_uploads"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "multipart_uploads" ADD CONSTRAINT "multipart_uploads_bucket_buckets_name_fk" FOREIGN KEY ("bucket") REFERENCES "public"."buckets"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "objects" ADD CONSTRAINT "objects_bucket_buckets_name_fk" FOREIGN KEY ("bucket") REFERENCES "public"."buckets"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "access_keys_user_id_index" ON "access_keys" USING btree ("user_id");--> statement-breakpoint
CREATE UNIQUE INDEX "key_pairs_project_name" ON "key_pairs" USING btree ("project_id","name");--> statement-breakpoint
CREATE INDEX "project_members_user_id_index" ON "project_members" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "image_launch_permissions_project_id_index" ON "image_launch_permissions" USING btree ("project_id");--> statement-breakpoint
CREATE INDEX "images_project_id_index" ON "images" USING btree ("project_id");--> statement-breakpoint
CREATE INDEX "images_state_index" ON "images" USING btree ("state");--> statement-breakpoint
CREATE INDEX "instance_security_groups_group_id_index" ON "instance_security_groups" USING btree ("group_id");--> statement-breakpoint
CREATE INDEX "instances_project_id_id_index" ON "instances" USING btree ("project_id","id");--> statement-breakpoint
CREATE INDEX "instances_host_index" ON "instances" USING btree ("host");--> statement-breakpoint
CREATE INDEX "instances_state_index" ON "instances" USING btree ("state");--> statement-breakpoint
CREATE INDEX "instances_reservation_id_index" ON "instances" USING btree ("reservation_id");--> statement-breakpoint
CREATE UNIQUE INDEX "reservations_client_token" ON "reservations" USING btree ("project_id","client_token");--> statement-breakpoint
CREATE INDEX "security_group_rules_group_id_index" ON "security_group_rules" USING btree ("group_id");--> statement-breakpoint
CREATE UNIQUE INDEX "security_group_rules_cidr" ON "security_group_rules" USING btree ("group_id","direction","protocol","from_port","to_port","cidr");--> statement-breakpoint
CREATE UNIQUE INDEX "security_group_rules_source" ON "security_group_rules" USING btree ("group_id","direction","protocol","from_port","to_port","source_group_id");--> statement-breakpoint
CREATE UNIQUE INDEX "security_groups_project_name" ON "security_groups" USING btree ("project_id","name");--> statement-breakpoint
CREATE INDEX "tags_resource_id_index" ON "tags" USING btree ("resource_id");--> statement-breakpoint
CREATE INDEX "fixed_addresses_network_id_position_index" ON "fixed_addresses" USING btree ("network_id","position");--> statement-breakpoint
CREATE INDEX "fixed_addresses_instance_id_index" ON "fixed_addresses" USING btree ("instance_id");--> statement-breakpoint
CREATE INDEX "buckets_project_id_index" ON "buckets" USING btree ("project_id");--> statement-breakpoint
CREATE INDEX "multipart_uploads_bucket_key_index" ON "multipart_uploads" USING btree ("bucket","key");--> statement-breakpoint
CREATE INDEX "operations_resource_id_sequence_index" ON "operations" USING btree ("resource_id","sequence");--> statement-breakpoint
CREATE INDEX "operations_state_owner_index" ON "operations" USING btree ("state","owner");