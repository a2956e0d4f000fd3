CREATE TABLE "outbox" (
	"id" text PRIMARY KEY NOT NULL,
	"sequence" bigserial NOT NULL,
	"mailbox" text NOT NULL,
	"envelope" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "hosts" ADD COLUMN "address" text;--> statement-breakpoint
ALTER TABLE "hosts" ADD COLUMN "down_since" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "hosts" ADD COLUMN "disabled_reason" text;--> statement-breakpoint
ALTER TABLE "services" ADD COLUMN "version" text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE "instances" ADD COLUMN "host_lost" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "operations" ADD COLUMN "reply_to" jsonb;--> statement-breakpoint
CREATE INDEX "outbox_sequence_index" ON "outbox" USING btree ("sequence");