BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE api_keys (
	id VARCHAR(32) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	scopes VARCHAR(100) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	expires_at VARCHAR(32), 
	revoked_at VARCHAR(32), 
	CONSTRAINT pk_api_keys PRIMARY KEY (id), 
	CONSTRAINT uq_api_keys_sha256 UNIQUE (sha256)
);
INSERT INTO "api_keys" VALUES('fbd165caf00b','ward','640dc4c80750cecf45707e61b6aa398596e10831d720d382b1161710e35fbd42','predict read','2026-11-28T08:11:35.606256Z',NULL,NULL);
INSERT INTO "api_keys" VALUES('d6844235ff5c','gone','14a58ad3efa41292702edda3f7f7618b6146d7edbc5d6ef58f4a3609804674a0','predict','2026-11-28T08:11:35.641427Z',NULL,'2026-11-28T08:11:35.654628Z');
CREATE TABLE audit_head (
	id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_audit_head PRIMARY KEY (id)
);
INSERT INTO "audit_head" VALUES(1,10,'7a0a76856ffbbbd3757fc0f3a3eb81e34eecc3c9c4fac85005639994c2771f0d');
CREATE TABLE audit_trail (
	number INTEGER NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	actor VARCHAR(64) NOT NULL, 
	action VARCHAR(32) NOT NULL, 
	subject VARCHAR(64) NOT NULL, 
	details TEXT NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_audit_trail PRIMARY KEY (number)
);
INSERT INTO "audit_trail" VALUES(1,'2026-11-28T08:11:35.606256Z','cli','key created','fbd165caf00b','{"expires_at":null,"name":"ward","scopes":"predict read"}','0000000000000000000000000000000000000000000000000000000000000000','70c37a6e4c66719e65249656f2649867e5ab480a5104bd398cb140fc6bd149f1');
INSERT INTO "audit_trail" VALUES(2,'2026-11-28T08:11:35.641427Z','cli','key created','d6844235ff5c','{"expires_at":null,"name":"gone","scopes":"predict"}','70c37a6e4c66719e65249656f2649867e5ab480a5104bd398cb140fc6bd149f1','f2006a831a280fb473eff53bdd50f72533bb2b96032e8186db14dc3d468b25ea');
INSERT INTO "audit_trail" VALUES(3,'2026-11-28T08:11:35.655880Z','cli','key revoked','d6844235ff5c','{}','f2006a831a280fb473eff53bdd50f72533bb2b96032e8186db14dc3d468b25ea','1c633b80f5b1465c31dcebd1f942ece3c1a276716f6099cf436a0394a0964811');
INSERT INTO "audit_trail" VALUES(4,'2026-11-28T08:11:35.668552Z','fbd165caf00b','predicted','00000000000000000000000000000001','{"bundle_sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","document_sha256":"1717661193936573fdd13f6569a5f3f53abaa14f32605e6748980a6ed90dc295","input_sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","source":"http"}','1c633b80f5b1465c31dcebd1f942ece3c1a276716f6099cf436a0394a0964811','026135ae9e80313d45c7f6320b29d279dd9ca5f6599b16cab5182d87eaba5014');
INSERT INTO "audit_trail" VALUES(5,'2026-11-28T08:11:35.668552Z','local','predicted','00000000000000000000000000000002','{"bundle_sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","document_sha256":"9763562cba6e432e4beab0ed5a5c00672fb054b509d4fd71b66cd506cf69b9a3","input_sha256":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","source":"dashboard"}','026135ae9e80313d45c7f6320b29d279dd9ca5f6599b16cab5182d87eaba5014','6af6a12868df71e1c0889acbf33de5ef35488f9d9313422e7522ef8df66a25c7');
INSERT INTO "audit_trail" VALUES(6,'2026-11-28T08:11:35.705276Z','fbd165caf00b','reviewed','11111111111111111111111111111111','{"decision":"tumor","prediction_id":"00000000000000000000000000000001","tumor_type":"glioma","verdict":"agree"}','6af6a12868df71e1c0889acbf33de5ef35488f9d9313422e7522ef8df66a25c7','ef5cec2d60dcb4321c227b779dd2a7ae7a533b6cc7264b9e7d3d92c9db76096a');
INSERT INTO "audit_trail" VALUES(7,'2026-11-28T08:11:35.722822Z','fbd165caf00b','reviewed','22222222222222222222222222222222','{"decision":"no tumor","prediction_id":"00000000000000000000000000000001","tumor_type":"","verdict":"correct"}','ef5cec2d60dcb4321c227b779dd2a7ae7a533b6cc7264b9e7d3d92c9db76096a','fdd6fe37be44521e402bb2fd5a44b6b634401d023be685c55e9d1b7098d47ea3');
INSERT INTO "audit_trail" VALUES(8,'2026-11-28T08:11:35.737897Z','fbd165caf00b','job submitted','33333333333333333333333333333333','{"total":3}','fdd6fe37be44521e402bb2fd5a44b6b634401d023be685c55e9d1b7098d47ea3','487f6ce263192f3521237c3e771146d61e5d8b2e777e4aee43f3d58ef8175a9a');
INSERT INTO "audit_trail" VALUES(9,'2026-11-28T08:11:35.749905Z','fbd165caf00b','predicted','00000000000000000000000000000003','{"bundle_sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","document_sha256":"f0e91123ef8b0a0c13823ff9a688b8bf456e82dd715a8fb0ff9cf18121a47204","input_sha256":"eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee","source":"batch"}','487f6ce263192f3521237c3e771146d61e5d8b2e777e4aee43f3d58ef8175a9a','23afc01620785d562ae8f7de25f4c830d31675c55abd39a5092486e18fd8d3dd');
INSERT INTO "audit_trail" VALUES(10,'2026-11-28T08:11:35.772348Z','fbd165caf00b','predicted','00000000000000000000000000000004','{"bundle_sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","document_sha256":"1717661193936573fdd13f6569a5f3f53abaa14f32605e6748980a6ed90dc295","input_sha256":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","source":"batch"}','23afc01620785d562ae8f7de25f4c830d31675c55abd39a5092486e18fd8d3dd','7a0a76856ffbbbd3757fc0f3a3eb81e34eecc3c9c4fac85005639994c2771f0d');
CREATE TABLE job_scans (
	job VARCHAR(32) NOT NULL, 
	position INTEGER NOT NULL, 
	path VARCHAR(255) NOT NULL, 
	notes TEXT NOT NULL, 
	input_sha256 VARCHAR(64) NOT NULL, 
	pixels BLOB NOT NULL, 
	CONSTRAINT pk_job_scans PRIMARY KEY (job, position), 
	CONSTRAINT fk_job_scans_job FOREIGN KEY(job) REFERENCES jobs (id) ON DELETE CASCADE
);
INSERT INTO "job_scans" VALUES('33333333333333333333333333333333',1,'scan 1','["a note"]','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd',X'89504E470D0A1A0A0000000D4948445200000008000000080800000000E164E1570000002349444154081D6384034E462810648402494628506484024D4628306484024B46080000214C01291F1BE83E0000000049454E44AE426082');
CREATE TABLE jobs (
	id VARCHAR(32) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	reader VARCHAR(64) NOT NULL, 
	total INTEGER NOT NULL, 
	CONSTRAINT pk_jobs PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('33333333333333333333333333333333','2026-11-28T08:11:35.737897Z','fbd165caf00b',3);
CREATE TABLE predictions (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(32) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	reader VARCHAR(64) NOT NULL, 
	source VARCHAR(16) NOT NULL, 
	job VARCHAR(32), 
	position INTEGER, 
	input_sha256 VARCHAR(64) NOT NULL, 
	bundle VARCHAR(200) NOT NULL, 
	bundle_sha256 VARCHAR(64) NOT NULL, 
	modality VARCHAR(8) NOT NULL, 
	decision VARCHAR(16) NOT NULL, 
	tumor_type VARCHAR(16) NOT NULL, 
	tumor_probability FLOAT, 
	document TEXT NOT NULL, 
	timings TEXT NOT NULL, 
	evidence BLOB, 
	prepared BLOB, 
	CONSTRAINT uq_predictions_id UNIQUE (id)
);
INSERT INTO "predictions" VALUES(1,'00000000000000000000000000000001','2026-11-28T08:11:35.668552Z','fbd165caf00b','http',NULL,NULL,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','small@012345678901','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','mri','tumor','glioma',8.76288659793814428411e-01,'{"schema_version": 1, "notice": "Research use only. Not a medical device.", "path": "scan-aaaaaaaaaaaa.png", "modality": "mri", "modality_probability": 0.97, "tumor_probability": 0.8762886597938144, "decision": "tumor", "type": "glioma", "type_probabilities": {"glioma": 0.7058823529411765, "meningioma": 0.17647058823529413, "pituitary": 0.11764705882352942}, "threshold": 0.15, "bundle": "small@012345678901", "notes": [], "error": "", "atoms": {"ct_healthy": 0.01, "ct_tumor": 0.02, "mri_healthy": 0.12, "mri_glioma": 0.6, "mri_meningioma": 0.15, "mri_pituitary": 0.1}}','{"prepare": 3.25, "predict": 2.5}',X'934E554D5059010076007B276465736372273A20273C6634272C2027666F727472616E5F6F72646572273A2046616C73652C20277368617065273A2028332C2033292C207D202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020200A0000803F0000000000000000000000000000803F0000000000000000000000000000803F',X'89504E470D0A1A0A0000000D4948445200000008000000080800000000E164E1570000002549444154081D63646084020E462810608402094628506084020D4628306084020B4608000020100121F6FCF52F0000000049454E44AE426082');
INSERT INTO "predictions" VALUES(2,'00000000000000000000000000000002','2026-11-28T08:11:35.668552Z','local','dashboard',NULL,NULL,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','small@012345678901','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','ct','no tumor','',0.01,'{"schema_version": 1, "notice": "Research use only. Not a medical device.", "path": "=1+1.png", "modality": "ct", "modality_probability": null, "tumor_probability": 0.01, "decision": "no tumor", "type": "", "type_probabilities": {}, "threshold": 0.15, "bundle": "small@012345678901", "notes": [], "error": "", "atoms": {}}','{"prepare": 3.25, "predict": 2.5}',NULL,NULL);
INSERT INTO "predictions" VALUES(3,'00000000000000000000000000000003','2026-11-28T08:11:35.749905Z','fbd165caf00b','batch','33333333333333333333333333333333',2,'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee','','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','','','',NULL,'{"schema_version": 1, "notice": "Research use only. Not a medical device.", "path": "bad", "modality": "", "modality_probability": null, "tumor_probability": null, "decision": "", "type": "", "type_probabilities": {}, "threshold": null, "bundle": "", "notes": [], "error": "This is not a PNG. Export it again.", "atoms": {}}','{"prepare": 3.25, "predict": 2.5}',NULL,NULL);
INSERT INTO "predictions" VALUES(4,'00000000000000000000000000000004','2026-11-28T08:11:35.772348Z','fbd165caf00b','batch','33333333333333333333333333333333',0,'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','small@012345678901','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','mri','tumor','glioma',8.76288659793814428411e-01,'{"schema_version": 1, "notice": "Research use only. Not a medical device.", "path": "scan-aaaaaaaaaaaa.png", "modality": "mri", "modality_probability": 0.97, "tumor_probability": 0.8762886597938144, "decision": "tumor", "type": "glioma", "type_probabilities": {"glioma": 0.7058823529411765, "meningioma": 0.17647058823529413, "pituitary": 0.11764705882352942}, "threshold": 0.15, "bundle": "small@012345678901", "notes": [], "error": "", "atoms": {"ct_healthy": 0.01, "ct_tumor": 0.02, "mri_healthy": 0.12, "mri_glioma": 0.6, "mri_meningioma": 0.15, "mri_pituitary": 0.1}}','{"prepare": 3.25, "predict": 2.5}',X'934E554D5059010076007B276465736372273A20273C6634272C2027666F727472616E5F6F72646572273A2046616C73652C20277368617065273A2028332C2033292C207D202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020200A0000803F0000000000000000000000000000803F0000000000000000000000000000803F',NULL);
CREATE TABLE reviews (
	number INTEGER NOT NULL, 
	id VARCHAR(32) NOT NULL, 
	prediction_id VARCHAR(32) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	reader VARCHAR(64) NOT NULL, 
	verdict VARCHAR(8) NOT NULL, 
	decision VARCHAR(16) NOT NULL, 
	tumor_type VARCHAR(16) NOT NULL, 
	reason TEXT NOT NULL, 
	CONSTRAINT pk_reviews PRIMARY KEY (number), 
	CONSTRAINT fk_reviews_prediction_id FOREIGN KEY(prediction_id) REFERENCES predictions (id) ON DELETE CASCADE, 
	CONSTRAINT uq_reviews_id UNIQUE (id)
);
INSERT INTO "reviews" VALUES(1,'11111111111111111111111111111111','00000000000000000000000000000001','2026-11-28T08:11:35.705276Z','fbd165caf00b','agree','tumor','glioma','');
INSERT INTO "reviews" VALUES(2,'22222222222222222222222222222222','00000000000000000000000000000001','2026-11-28T08:11:35.722822Z','fbd165caf00b','correct','no tumor','','motion artifact');
CREATE INDEX ix_audit_trail_subject ON audit_trail (subject);
CREATE INDEX ix_jobs_created_at ON jobs (created_at);
CREATE INDEX ix_predictions_created_at ON predictions (created_at);
CREATE INDEX ix_predictions_input_sha256 ON predictions (input_sha256);
CREATE INDEX ix_predictions_job ON predictions (job);
CREATE INDEX ix_predictions_reader_number ON predictions (reader, number);
CREATE INDEX ix_reviews_prediction_id ON reviews (prediction_id);
CREATE TRIGGER audit_trail_no_update BEFORE UPDATE ON audit_trail BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_trail_no_delete BEFORE DELETE ON audit_trail BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('predictions',4);
COMMIT;
