CREATE TABLE "vpn_certificates" (
	"vpn_id" text NOT NULL,
	"serial" text NOT NULL,
	"name" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"revoked_at" timestamp (3) with time zone,
	CONSTRAINT "vpn_certificates_vpn_id_serial_pk" PRIMARY KEY("vpn_id","serial")
);
--> statement-breakpoint
CREATE TABLE "vpns" (
	"id" text PRIMARY KEY NOT NULL,
	"project_id" text NOT NULL,
	"host" text NOT NULL,
	"address" text NOT NULL,
	"port" integer NOT NULL,
	"number" integer NOT NULL,
	"authority" text NOT NULL,
	"sealed_authority_key" text NOT NULL,
	"certificate" text NOT NULL,
	"sealed_key" text NOT NULL,
	"sealed_control_key" text NOT NULL,
	"revocations" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "vpns_project_id_unique" UNIQUE("project_id"),
	CONSTRAINT "vpns_number_unique" UNIQUE("number")
);
--> statement-breakpoint
ALTER TABLE "vpn_certificates" ADD CONSTRAINT "vpn_certificates_vpn_id_vpns_id_fk" FOREIGN KEY ("vpn_id") REFERENCES "public"."vpns"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "vpns" ADD CONSTRAINT "vpns_project_id_projects_id_fk" FOREIGN KEY ("project_id") REFERENCES "public"."projects"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "vpn_certificates_vpn_id_name_index" ON "vpn_certificates" USING btree ("vpn_id","name");--> statement-breakpoint
CREATE UNIQUE INDEX "vpns_port" ON "vpns" USING btree ("host","port");