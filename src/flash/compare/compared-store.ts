/**
 * The few calls that stores of small values are compared by, whatever they are made of. No interface for users: what a store can do
 * besides is left out.
 */

export interface ComparedStore {
  /** With the version of what is behind it. */
  readonly name: string;
  /** What a kill and a loss of power leave of values put, in one sentence. After `flush` it is the same for all: everything. */
  readonly durability: string;
  getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]>;
  putMany(entries: readonly (readonly [key: Uint8Array, value: Uint8Array])[]): Promise<void>;
  /** Everything put before survives a loss of power. */
  flush(): Promise<void>;
  close(): Promise<void>;
  /** That the file system has given to its files: blocks, not lengths. */
  bytesOnDisk(): number;
}

/** A package for comparison only, which is not installed. */
export class MissingPackageError extends Error {
  override readonly name = "MissingPackageError";

  constructor(
    readonly packageName: string,
    options?: ErrorOptions,
  ) {
    super(`to compare with it, install ${packageName} (npm install --no-save ${packageName})`, options);
  }
}

/** Imports a package that may not be there. @throws MissingPackageError */
export async function optionalPackage<Module>(name: string): Promise<Module> {
  try {
    return (await import(name)) as Module;
  } catch (error) {
    throw new MissingPackageError(name, { cause: error });
  }
}
