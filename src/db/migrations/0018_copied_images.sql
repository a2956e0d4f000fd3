ALTER TABLE "images" ADD COLUMN "source_image_id" text;--> statement-breakpoint
ALTER TABLE "images" ADD COLUMN "client_token" text;--> statement-breakpoint
ALTER TABLE "images" ADD COLUMN "request_digest" text DEFAULT '' NOT NULL;--> statement-breakpoint
CREATE UNIQUE INDEX "images_client_token" ON "images" USING btree ("project_id","client_token");