-- What else the rules ask about: further memberships (JSON arrays), and the e-mail address as the provider says it, verified or not.
ALTER TABLE grants ADD COLUMN said_email TEXT;
ALTER TABLE grants ADD COLUMN roles TEXT NOT NULL DEFAULT '[]';
ALTER TABLE grants ADD COLUMN orgs TEXT NOT NULL DEFAULT '[]';
ALTER TABLE grants ADD COLUMN teams TEXT NOT NULL DEFAULT '[]';
