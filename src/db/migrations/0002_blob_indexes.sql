CREATE INDEX "multipart_parts_blob_id_index" ON "multipart_parts" USING btree ("blob_id");--> statement-breakpoint
CREATE INDEX "objects_blob_id_index" ON "objects" USING btree ("blob_id");