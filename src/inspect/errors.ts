/**
 * What is wrong with things that others gave us. Each is an error of one line that begins with its place: a file
 * with line and field, or a socket. The command line prints that line, without a stack, and exits with the code.
 */

/** What both kinds share. */
export abstract class PlacedError extends Error {
  abstract readonly exitCode: number;
  /** What is wrong, without the place. */
  readonly what: string;

  /**
   * @param place where it is: `registers.json:3`, `qmp:/run/vm.qmp`
   * @param what what is wrong there
   */
  constructor(place: string, what: string) {
    super(`${place}: ${what}`.replace(/\p{Cc}/gu, visible));
    this.name = new.target.name;
    this.what = what;
  }
}

/** A file, an address or a machine is not what it has to be. */
export class InputError extends PlacedError {
  readonly exitCode = 2;
}

/** What is needed is not there, or went away: no such socket, QEMU gone. */
export class EnvironmentError extends PlacedError {
  readonly exitCode = 3;
}

/** A control character as text, so that a message stays one line whatever a name or a file holds. */
function visible(control: string): string {
  return `\\x${(control.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`;
}

/** What the system says of a failed call, in a person's words. */
export function reasonOf(error: unknown): string {
  const code = codeOf(error);
  const known = code === undefined ? undefined : REASONS[code];
  return known ?? (error instanceof Error ? error.message : String(error));
}

/** The system's name of a failure, such as `ENOENT`. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file',
  EISDIR: 'this is a directory',
  EACCES: 'no permission to open it',
  EPERM: 'no permission to open it',
  ELOOP: 'its symbolic links go round in a circle',
  ENAMETOOLONG: 'its name is too long',
  ENOSPC: 'there is no space left',
  EIO: 'the disk fails to read it',
};
