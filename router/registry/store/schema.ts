/**
 * The tables of the SQLite store. Records are JSON documents; what must hold between them (unique names, links that lead
 * somewhere, an audit that only grows) is held by the database, not by the code above it.
 */
export const APPLICATION_ID = 0x4e_43_52_31
export const SCHEMA_VERSION = 6

/**
 * What brings a store of format 1, 2 … to the next one, in the transaction in which it is opened. A program refuses a
 * format that it doesn't know: it would leave undone what the newer one relies on.
 */
export const MIGRATIONS: readonly string[] = [
  // 2: grants (a program of format 1 would leave their addresses in force); nodes say whether they drain.
  `UPDATE records SET body = json_set(body, '$.draining', json('false')) WHERE kind = 'nodes'`,
  // 3: addresses say who does TLS (a program of format 2 would carry in the clear what must not be).
  `UPDATE records SET body = json_set(body, '$.tls', json('null')) WHERE kind = 'addresses'`,
  // 4: databases may have allow-lists (a program of format 3 would let anybody in), users and backups.
  `SELECT 1`,
  // 5: gateways join (a program of format 4 would show them the keys of proxies), WireGuard peers.
  `SELECT 1`,
  // 6: backbones join (a program of format 5 would show them data nodes).
  `SELECT 1`,
]

export const SCHEMA = `
CREATE TABLE records (
  kind TEXT NOT NULL, key TEXT NOT NULL, org TEXT NOT NULL, name TEXT, body TEXT NOT NULL,
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  UNIQUE (kind, key)
) STRICT;
CREATE UNIQUE INDEX records_name ON records (kind, org, name) WHERE name IS NOT NULL;
CREATE INDEX records_org ON records (kind, org, number);
CREATE TABLE links (
  kind TEXT NOT NULL, key TEXT NOT NULL, target_kind TEXT NOT NULL, target_key TEXT NOT NULL,
  PRIMARY KEY (kind, key, target_kind, target_key),
  FOREIGN KEY (kind, key) REFERENCES records (kind, key) ON DELETE CASCADE,
  FOREIGN KEY (target_kind, target_key) REFERENCES records (kind, key) ON DELETE RESTRICT
) STRICT, WITHOUT ROWID;
CREATE INDEX links_target ON links (target_kind, target_key, kind);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE changes (
  revision INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (revision, kind, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
  id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, at TEXT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
  org TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END;
CREATE TRIGGER audit_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END;
`
