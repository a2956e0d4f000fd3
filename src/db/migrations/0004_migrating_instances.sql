ALTER TABLE "instances" ADD COLUMN "migrating_to" text;--> statement-breakpoint
CREATE INDEX "instances_migrating_to_index" ON "instances" USING btree ("migrating_to");