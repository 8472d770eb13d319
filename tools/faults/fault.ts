/** A single fault, put in on purpose: a text that stands in its file once, and what is put in its place. */
export interface Fault {
  /** What is wrong then, in a few words. */
  readonly name: string;
  /** The file, from the root of the repository. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Files or folders of tests that have to notice. */
  readonly tests: readonly string[];
  /** The project of vitest that the tests are of; `unit` if left out. What is of `lab` needs the lab. */
  readonly project?: 'unit' | 'lab';
}

export type Change = Pick<Fault, 'find' | 'replace'>;

/** Makes faults in files of one folder, which the same tests have to notice. */
export const faultsIn =
  (folder: string, of: Pick<Fault, 'tests' | 'project'>) =>
  (name: string, file: string, change: Change): Fault => ({
    ...{ name, file: `${folder}/${file}` },
    ...change,
    ...of,
  });
