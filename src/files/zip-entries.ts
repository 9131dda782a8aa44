/**
 * @file Where the uncompressed entries of a zip archive lie in its file. Knows nothing of what they hold.
 */
import yauzl from "yauzl";
import { DeltafitError } from "../errors.ts";
import { quote } from "./quote.ts";
import { readExactly, withOpenFile } from "./read.ts";
import type { OpenFile } from "./read.ts";

/** Bytes of an entry in the archive's file. */
export interface EntryPlace {
  readonly offset: number;
  readonly byteLength: number;
}

const maximumEntries = 2 ** 17;

/** Reads of the archive's tables: an offset beyond the file is an error here, where the library's own would throw. */
class BoundedReader extends yauzl.RandomAccessReader {
  readonly #path: string;

  constructor(path: string) {
    super();
    this.#path = path;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null) => void,
  ): void {
    let failure: Error | null = null;
    try {
      withOpenFile(this.#path, (file: OpenFile) => {
        if (!(position >= 0 && position + length <= file.identity.byteLength))
          throw new RangeError(`it points to byte ${position}, outside of itself`);
        readExactly(file, buffer.subarray(offset, offset + length), position);
      });
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
    }
    setImmediate(() => callback(failure));
  }
}

/**
 * The entries of an archive by their names.
 * @throws DeltafitError `file-missing`; `file-invalid` where the archive is broken or an entry is compressed.
 */
export async function listZipEntries(path: string): Promise<ReadonlyMap<string, EntryPlace>> {
  const byteLength = withOpenFile(path, ({ identity }) => identity.byteLength);
  try {
    const archive = await yauzl.fromRandomAccessReaderPromise(new BoundedReader(path), byteLength);
    if (archive.entryCount > maximumEntries)
      throw new Error(`it has ${archive.entryCount} entries, expected at most ${maximumEntries}`);
    const places = new Map<string, EntryPlace>();
    for await (const entry of archive.eachEntry()) {
      if (entry.compressionMethod !== 0) throw new Error(`its entry ${quote(entry.fileName)} is compressed`);
      const { fileDataStart } = await archive.readLocalFileHeaderPromise(entry, { minimal: true });
      if (fileDataStart + entry.uncompressedSize > byteLength)
        throw new Error(`its entry ${quote(entry.fileName)} reaches beyond its end`);
      places.set(entry.fileName, { offset: fileDataStart, byteLength: entry.uncompressedSize });
    }
    return places;
  } catch (error) {
    if (DeltafitError.isInstance(error)) throw error;
    const reason = error instanceof Error ? error.message.replace(/\.$/, "") : String(error);
    throw new DeltafitError(
      "file-invalid",
      `${quote(path)} is a broken zip archive: ${reason}.`,
      "Check that the download or the copy is complete.",
      error,
    );
  }
}
