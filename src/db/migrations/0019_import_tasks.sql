CREATE TABLE "import_tasks" (
	"id" text PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"user_id" text NOT NULL,
	"image_id" text NOT NULL,
	"description" text NOT NULL,
	"source" jsonb NOT NULL,
	"format" text,
	"architecture" text NOT NULL,
	"platform" text,
	"state" text NOT NULL,
	"stage" text NOT NULL,
	"bytes_done" bigint DEFAULT 0 NOT NULL,
	"bytes_total" bigint DEFAULT 0 NOT NULL,
	"virtual_size_bytes" bigint,
	"reason" text,
	"client_token" text,
	"request_digest" text DEFAULT '' NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"changed_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "import_tasks" ADD CONSTRAINT "import_tasks_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "import_tasks_client_token" ON "import_tasks" USING btree ("project_id","client_token");--> statement-breakpoint
CREATE INDEX "import_tasks_project_id_id_index" ON "import_tasks" USING btree ("project_id","id");--> statement-breakpoint
CREATE INDEX "import_tasks_image_id_index" ON "import_tasks" USING btree ("image_id");--> statement-breakpoint
CREATE INDEX "import_tasks_state_index" ON "import_tasks" USING btree ("state");