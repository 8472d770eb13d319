/** The command `ioasis`. */
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { Command, CommanderError } from 'commander';
import { reasonOf } from '../inspect/index.js';
import { EXIT, EXIT_CODES, explain } from './exit.js';
import { inspectCommand } from './inspect.js';

const packageFile = new URL('../../package.json', import.meta.url);

/** Runs the command line `args` (without node and script), and answers the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };
  let code: number = EXIT.FINE;
  const program = new Command('ioasis')
    .description('PASID management for virtual machines, whole and without the hardware.')
    .version(version)
    .exitOverride()
    .configureOutput({
      outputError: (text, write) =>
        write(
          text
            .trimEnd()
            .replace(/^error: /, 'ioasis: ')
            .replaceAll('\n', ' ')
            .concat('\n'),
        ),
    })
    .addCommand(
      inspectCommand((result) => {
        code = result;
      }),
    )
    .addHelpText('after', `\n${EXIT_CODES}`);
  for (const command of program.commands) command.copyInheritedSettings(program);
  try {
    await program.parseAsync(args, { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.FINE : EXIT.INPUT;
    return explain(error);
  }
}

// A reader that has seen enough (`| head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.FINE);
  process.stderr.write(`ioasis: standard output: ${reasonOf(error)}\n`);
  process.exit(EXIT.ENVIRONMENT);
});

// Where a message cannot be written, the exit code still says what happened.
process.stderr.on('error', () => undefined);
