// What the guest starts from: the "newc" cpio archive of Documentation/driver-api/early-userspace/buffer-format.rst.

export interface InitramfsFile {
  /** Without a leading slash; its folders must come before it. */
  readonly path: string;
  /** A folder has none. */
  readonly content?: Uint8Array | string;
}

const FOLDER_MODE = 0o040755;
const FILE_MODE = 0o100755;
const TRAILER = 'TRAILER!!!';

/** The archive, uncompressed. Every file may be executed. */
export function encodeInitramfs(files: readonly InitramfsFile[]): Buffer {
  return Buffer.concat([
    ...files.map(({ path, content }, i) => encodeEntry(path, i + 1, content)),
    encodeEntry(TRAILER, 0, ''),
  ]);
}

function encodeEntry(path: string, inode: number, content: InitramfsFile['content']): Buffer {
  const bytes = Buffer.from(content ?? '');
  const name = `${path}\0`;
  const mode = content === undefined ? FOLDER_MODE : FILE_MODE;
  // ino, mode, uid, gid, nlink, mtime, filesize, major, minor, rmajor, rminor, namesize, check
  const fields = [inode, mode, 0, 0, 1, 0, bytes.length, 0, 0, 0, 0, Buffer.byteLength(name), 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}`;
  return Buffer.concat([padded(Buffer.from(header)), padded(bytes)]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}
