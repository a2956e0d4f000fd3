ALTER TABLE "instances" ADD COLUMN "network_id" text;--> statement-breakpoint
ALTER TABLE "networks" ADD COLUMN "project_id" text;--> statement-breakpoint
ALTER TABLE "networks" ADD COLUMN "router_id" text;--> statement-breakpoint
ALTER TABLE "networks" ADD COLUMN "segment" integer;--> statement-breakpoint
ALTER TABLE "networks" ADD COLUMN "is_default" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "instances" ADD CONSTRAINT "instances_network_id_networks_id_fk" FOREIGN KEY ("network_id") REFERENCES "public"."networks"("id") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "networks" ADD CONSTRAINT "networks_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "instances_network_id_index" ON "instances" USING btree ("network_id");--> statement-breakpoint
CREATE UNIQUE INDEX "networks_segment" ON "networks" USING btree ("manager","segment");--> statement-breakpoint
CREATE UNIQUE INDEX "networks_default" ON "networks" USING btree ("project_id") WHERE "networks"."is_default";--> statement-breakpoint
CREATE INDEX "networks_project_id_index" ON "networks" USING btree ("project_id");--> statement-breakpoint
CREATE INDEX "networks_router_id_index" ON "networks" USING btree ("router_id");