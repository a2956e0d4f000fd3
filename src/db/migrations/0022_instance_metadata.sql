ALTER TABLE "instances" ADD COLUMN "metadata_endpoint" text DEFAULT 'enabled' NOT NULL;--> statement-breakpoint
ALTER TABLE "instances" ADD COLUMN "metadata_tokens" text DEFAULT 'optional' NOT NULL;