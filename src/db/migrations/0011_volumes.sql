CREATE TABLE "snapshot_permissions" (
	"snapshot_id" text NOT NULL,
	"project_id" text NOT NULL,
	CONSTRAINT "snapshot_permissions_snapshot_id_project_id_pk" PRIMARY KEY("snapshot_id","project_id")
);
--> statement-breakpoint
CREATE TABLE "snapshots" (
	"id" text PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"user_id" text NOT NULL,
	"volume_id" text NOT NULL,
	"size_gib" integer NOT NULL,
	"description" text DEFAULT '' NOT NULL,
	"state" text NOT NULL,
	"state_reason" text,
	"state_deadline" timestamp (3) with time zone,
	"is_public" boolean DEFAULT false NOT NULL,
	"host" text NOT NULL,
	"content_id" text NOT NULL,
	"size_bytes" bigint,
	"started_at" timestamp (3) with time zone NOT NULL,
	"completed_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "volume_attachments" (
	"volume_id" text PRIMARY KEY NOT NULL,
	"id" text NOT NULL,
	"instance_id" text NOT NULL,
	"device" text NOT NULL,
	"target" text NOT NULL,
	"state" text NOT NULL,
	"released" boolean DEFAULT false NOT NULL,
	"connection" jsonb,
	"delete_on_termination" boolean DEFAULT false NOT NULL,
	"attached_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "volume_attachments_id_unique" UNIQUE("id")
);
--> statement-breakpoint
CREATE TABLE "volume_hosts" (
	"name" text PRIMARY KEY NOT NULL,
	"zone" text NOT NULL,
	"enabled" boolean DEFAULT true NOT NULL,
	"disabled_reason" text,
	"driver" text NOT NULL,
	"is_remote" boolean NOT NULL,
	"moves_live" boolean DEFAULT false NOT NULL,
	"size_gib" integer NOT NULL,
	"claimed_gib" integer DEFAULT 0 NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "volume_modifications" (
	"volume_id" text PRIMARY KEY NOT NULL,
	"state" text NOT NULL,
	"reason" text,
	"original_size_gib" integer NOT NULL,
	"target_size_gib" integer NOT NULL,
	"original_type" text NOT NULL,
	"target_type" text NOT NULL,
	"started_at" timestamp (3) with time zone NOT NULL,
	"ended_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "volumes" (
	"id" text PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"user_id" text NOT NULL,
	"client_token" text,
	"request_digest" text DEFAULT '' NOT NULL,
	"size_gib" integer NOT NULL,
	"type" text NOT NULL,
	"iops" integer,
	"throughput" integer,
	"snapshot_id" text,
	"content_id" text,
	"zone" text NOT NULL,
	"host" text,
	"fence" integer DEFAULT 0 NOT NULL,
	"placements" integer DEFAULT 0 NOT NULL,
	"failed_hosts" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"state" text NOT NULL,
	"state_reason" text,
	"state_changed_at" timestamp (3) with time zone NOT NULL,
	"state_deadline" timestamp (3) with time zone,
	"auto_enable_io" boolean DEFAULT false NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "images" ADD COLUMN "devices" jsonb DEFAULT '[]'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "instances" ADD COLUMN "boots_from_volume" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "snapshot_permissions" ADD CONSTRAINT "snapshot_permissions_snapshot_id_snapshots_id_fk" FOREIGN KEY ("snapshot_id") REFERENCES "public"."snapshots"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "snapshots" ADD CONSTRAINT "snapshots_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "volume_attachments" ADD CONSTRAINT "volume_attachments_volume_id_volumes_id_fk" FOREIGN KEY ("volume_id") REFERENCES "public"."volumes"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "volume_modifications" ADD CONSTRAINT "volume_modifications_volume_id_volumes_id_fk" FOREIGN KEY ("volume_id") REFERENCES "public"."volumes"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "volumes" ADD CONSTRAINT "volumes_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "snapshot_permissions_project_id_index" ON "snapshot_permissions" USING btree ("project_id");--> statement-breakpoint
CREATE INDEX "snapshots_project_id_id_index" ON "snapshots" USING btree ("project_id","id");--> statement-breakpoint
CREATE INDEX "snapshots_content_id_index" ON "snapshots" USING btree ("content_id");--> statement-breakpoint
CREATE INDEX "snapshots_host_index" ON "snapshots" USING btree ("host");--> statement-breakpoint
CREATE INDEX "snapshots_volume_id_index" ON "snapshots" USING btree ("volume_id");--> statement-breakpoint
CREATE UNIQUE INDEX "volume_attachments_device" ON "volume_attachments" USING btree ("instance_id","device");--> statement-breakpoint
CREATE UNIQUE INDEX "volume_attachments_target" ON "volume_attachments" USING btree ("instance_id","target");--> statement-breakpoint
CREATE INDEX "volume_hosts_by_load" ON "volume_hosts" USING btree ("zone","claimed_gib","name") WHERE "volume_hosts"."enabled";--> statement-breakpoint
CREATE UNIQUE INDEX "volumes_client_token" ON "volumes" USING btree ("project_id","client_token");--> statement-breakpoint
CREATE INDEX "volumes_project_id_id_index" ON "volumes" USING btree ("project_id","id");--> statement-breakpoint
CREATE INDEX "volumes_host_index" ON "volumes" USING btree ("host");--> statement-breakpoint
CREATE INDEX "volumes_overdue" ON "volumes" USING btree ("state_deadline") WHERE "volumes"."state_deadline" is not null;