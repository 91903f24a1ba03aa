/**
 * SQLite for comparison: one table without row ids, a write-ahead log, a transaction for each batch. From `node:sqlite` where Node
 * has it (22.13 on), else from `node-sqlite3-wasm`: the present SQLite without a native build, and in batches at least as fast as
 * the one native package that installs without a download.
 */
import { rmSync } from "node:fs";
import { allocatedBytes } from "./allocated-bytes.ts";
import { type ComparedStore, optionalPackage } from "./compared-store.ts";

/** Values asked for or put by one statement: a call into SQLite costs more than a look-up. */
const BATCH = 64;

/** First of all: the WebAssembly build has no memory shared between processes, without which a log is read in this mode only. */
const ONE_PROCESS = "PRAGMA locking_mode = EXCLUSIVE";

/** What both packages have in common, by way of `Connection`. */
type Bindable = Uint8Array;
type Row = Readonly<Record<string, unknown>>;

interface Statement {
  all(parameters: readonly Bindable[]): readonly Row[];
  run(parameters: readonly Bindable[]): void;
}

interface Connection {
  readonly name: string;
  exec(sql: string): void;
  prepare(sql: string): Statement;
  close(): void;
}

/** @throws MissingPackageError */
export async function openSqliteStore(path: string): Promise<ComparedStore> {
  const connection = await connect(path);
  connection.exec("PRAGMA journal_mode = WAL");
  connection.exec("PRAGMA synchronous = NORMAL");
  connection.exec("CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID");
  return new SqliteStore(path, connection);
}

class SqliteStore implements ComparedStore {
  readonly durability = "a kill loses nothing, a loss of power what came after the last checkpoint of the log";
  readonly #path: string;
  readonly #connection: Connection;
  readonly #getBatch: Statement;
  readonly #putBatch: Statement;
  readonly #putOne: Statement;

  constructor(path: string, connection: Connection) {
    this.#path = path;
    this.#connection = connection;
    const marks = (mark: string) => Array(BATCH).fill(mark).join();
    this.#getBatch = connection.prepare(`SELECT key, value FROM entries WHERE key IN (${marks("?")})`);
    this.#putBatch = connection.prepare(`INSERT OR REPLACE INTO entries VALUES ${marks("(?, ?)")}`);
    this.#putOne = connection.prepare("INSERT OR REPLACE INTO entries VALUES (?, ?)");
  }

  get name(): string {
    return this.#connection.name;
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    const found = new Map<string, Uint8Array>();
    for (let i = 0; i < keys.length; i += BATCH) {
      const batch = keys.slice(i, i + BATCH);
      while (batch.length < BATCH) batch.push(batch[0]);
      for (const { key, value } of this.#getBatch.all(batch)) found.set(text(key as Uint8Array), value as Uint8Array);
    }
    return keys.map((key) => found.get(text(key)));
  }

  async putMany(entries: readonly (readonly [Uint8Array, Uint8Array])[]): Promise<void> {
    this.#connection.exec("BEGIN");
    const whole = entries.length - (entries.length % BATCH);
    for (let i = 0; i < whole; i += BATCH) this.#putBatch.run(entries.slice(i, i + BATCH).flat());
    for (const [key, value] of entries.slice(whole)) this.#putOne.run([key, value]);
    this.#connection.exec("COMMIT");
  }

  async flush(): Promise<void> {
    this.#connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  }

  async close(): Promise<void> {
    this.#connection.close();
  }

  bytesOnDisk(): number {
    return allocatedBytes(this.#path, `${this.#path}-wal`);
  }
}

/** A key as a map takes it. */
function text(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

interface NodeSqlite {
  readonly DatabaseSync: new (
    path: string,
  ) => {
    exec(sql: string): void;
    prepare(sql: string): {
      all(...parameters: readonly Bindable[]): readonly Row[];
      run(...parameters: readonly Bindable[]): unknown;
    };
    close(): void;
  };
}

interface WasmSqlite {
  readonly default: {
    readonly Database: new (
      path: string,
    ) => {
      exec(sql: string): void;
      prepare(sql: string): Statement & { finalize(): void };
      close(): void;
    };
  };
}

async function connect(path: string): Promise<Connection> {
  const { sqlite } = process.versions;
  if (sqlite !== undefined) {
    const { DatabaseSync } = await optionalPackage<NodeSqlite>("node:sqlite");
    const database = new DatabaseSync(path);
    database.exec(ONE_PROCESS);
    return {
      name: `SQLite ${sqlite} (node:sqlite)`,
      exec: (sql) => database.exec(sql),
      prepare(sql) {
        const statement = database.prepare(sql);
        return {
          all: (parameters) => statement.all(...parameters),
          run: (parameters) => void statement.run(...parameters),
        };
      },
      close: () => database.close(),
    };
  }
  // Its lock is a folder, which a process that was killed leaves behind; this file is nobody else's.
  rmSync(`${path}.lock`, { recursive: true, force: true });
  const { Database } = (await optionalPackage<WasmSqlite>("node-sqlite3-wasm")).default;
  const database = new Database(path);
  database.exec(ONE_PROCESS);
  const statements: { finalize(): void }[] = [];
  const version = database.prepare("SELECT sqlite_version() AS version");
  statements.push(version);
  return {
    name: `SQLite ${version.all([])[0].version} (node-sqlite3-wasm)`,
    exec: (sql) => database.exec(sql),
    prepare(sql) {
      const statement = database.prepare(sql);
      statements.push(statement);
      return statement;
    },
    close() {
      for (const statement of statements) statement.finalize();
      database.close();
    },
  };
}
