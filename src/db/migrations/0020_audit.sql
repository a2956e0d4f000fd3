CREATE TABLE "audit_records" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "audit_records_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"at" timestamp (3) with time zone NOT NULL,
	"kind" text NOT NULL,
	"service" text NOT NULL,
	"action" text NOT NULL,
	"outcome" text NOT NULL,
	"code" text,
	"status" integer,
	"request_id" text NOT NULL,
	"user_id" text,
	"user_name" text,
	"access_key_id" text,
	"project_id" text,
	"source" text NOT NULL,
	"about" text[] NOT NULL
);
--> statement-breakpoint
CREATE INDEX "audit_records_kind" ON "audit_records" USING btree ("kind","id");--> statement-breakpoint
CREATE INDEX "audit_records_at" ON "audit_records" USING btree ("at");--> statement-breakpoint
CREATE INDEX "audit_records_request" ON "audit_records" USING btree ("request_id");