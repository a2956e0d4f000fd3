CREATE TABLE "project_quotas" (
	"project_id" text NOT NULL,
	"name" text NOT NULL,
	"limit" bigint NOT NULL,
	CONSTRAINT "project_quotas_project_id_name_pk" PRIMARY KEY("project_id","name")
);
--> statement-breakpoint
CREATE TABLE "project_bytes" (
	"project_id" text PRIMARY KEY NOT NULL,
	"bytes_most" bigint NOT NULL,
	"counted_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "project_quotas" ADD CONSTRAINT "project_quotas_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "project_bytes" ADD CONSTRAINT "project_bytes_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;