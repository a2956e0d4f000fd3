CREATE TABLE "bucket_settings" (
	"bucket" text NOT NULL,
	"kind" text NOT NULL,
	"value" jsonb NOT NULL,
	CONSTRAINT "bucket_settings_bucket_kind_pk" PRIMARY KEY("bucket","kind")
);
--> statement-breakpoint
CREATE TABLE "object_versions" (
	"bucket" text NOT NULL,
	"key" text COLLATE "C" NOT NULL,
	"size_bytes" bigint NOT NULL,
	"etag" text NOT NULL,
	"headers" jsonb NOT NULL,
	"metadata" jsonb NOT NULL,
	"checksums" jsonb NOT NULL,
	"project_id" text NOT NULL,
	"acl" text DEFAULT 'private' NOT NULL,
	"modified_at" timestamp (3) with time zone NOT NULL,
	"tags" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"parts" jsonb,
	"version_id" text NOT NULL,
	"blob_id" text,
	"sequence" bigserial NOT NULL,
	"noncurrent_since" timestamp (3) with time zone,
	CONSTRAINT "object_versions_bucket_key_version_id_pk" PRIMARY KEY("bucket","key","version_id")
);
--> statement-breakpoint
ALTER TABLE "buckets" ADD COLUMN "versioning" text;--> statement-breakpoint
ALTER TABLE "buckets" ADD COLUMN "policy" text;--> statement-breakpoint
ALTER TABLE "multipart_parts" ADD COLUMN "checksums" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "multipart_uploads" ADD COLUMN "tags" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "multipart_uploads" ADD COLUMN "checksum_algorithm" text;--> statement-breakpoint
ALTER TABLE "multipart_uploads" ADD COLUMN "checksum_type" text;--> statement-breakpoint
ALTER TABLE "objects" ADD COLUMN "tags" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "objects" ADD COLUMN "parts" jsonb;--> statement-breakpoint
ALTER TABLE "objects" ADD COLUMN "version_id" text DEFAULT 'null' NOT NULL;--> statement-breakpoint
ALTER TABLE "bucket_settings" ADD CONSTRAINT "bucket_settings_bucket_buckets_name_fk" FOREIGN KEY ("bucket") REFERENCES "public"."buckets"("name") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "object_versions" ADD CONSTRAINT "object_versions_bucket_buckets_name_fk" FOREIGN KEY ("bucket") REFERENCES "public"."buckets"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "bucket_settings_kind_index" ON "bucket_settings" USING btree ("kind");--> statement-breakpoint
CREATE INDEX "object_versions_bucket_key_sequence_index" ON "object_versions" USING btree ("bucket","key","sequence");--> statement-breakpoint
CREATE INDEX "object_versions_blob_id_index" ON "object_versions" USING btree ("blob_id");