ALTER TABLE "buckets" ADD COLUMN "encryption" text;--> statement-breakpoint
ALTER TABLE "multipart_uploads" ADD COLUMN "encryption" text;