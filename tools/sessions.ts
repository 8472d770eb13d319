/**
 * The sessions that pages show: every `console` block's commands are run, and what they print must stand below
 * them.
 *
 *     node build/tools/sessions.js          writes what the commands print into the pages
 *     node build/tools/sessions.js --check  fails (exit 1) if a page shows something else
 *
 * A command is a line that begins with `$ `; what follows, up to the next one or the end of the block, is its
 * output. Standard error is not shown.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PAGES = ['README.md', 'docs/guest-sva.md'];

/** What a command prints, run in the repository's root. */
function outputOf(command: string): string {
  // npm's own headline is no part of what a command prints.
  const quiet = command.replace(/^npm (start|test|run)/, 'npm --silent $1');
  const { stdout, status, stderr } = spawnSync('bash', ['-c', quiet], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  });
  if (status !== 0 && status !== 1) throw new Error(`$ ${command}\n${stderr}`);
  return stdout.trimEnd();
}

/** A page with the output of its commands as it is now. */
function refreshed(page: string): string {
  return page.replace(/^```console\n([\s\S]*?)^```$/gm, (_, block: string) => {
    const commands = block.split('\n').filter((line) => line.startsWith('$ '));
    const sessions = commands.map((line) => `${line}\n${outputOf(line.slice(2))}`);
    return `\`\`\`console\n${sessions.join('\n')}\n\`\`\``;
  });
}

for (const name of PAGES) {
  const file = `${ROOT}${name}`;
  const page = readFileSync(file, 'utf8');
  const now = refreshed(page);
  if (now === page) continue;
  if (process.argv.includes('--check')) {
    console.error(`${name} shows a session that runs otherwise now: npm run docs writes it anew`);
    process.exitCode = 1;
  } else {
    writeFileSync(`${file}.new`, now);
    renameSync(`${file}.new`, file);
  }
}
