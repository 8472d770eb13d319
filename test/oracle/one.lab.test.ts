import { test } from 'vitest';
import { findLab } from '../lab/machines.js';
import { generate } from './generate.js';
import { KINDS, OracleMachine } from './machine.js';
import { compare } from './run.js';

test('one', async () => {
  const lab = findLab();
  if ('missing' in lab) throw new Error(lab.missing);
  const k = Number(process.env['KIND']);
  const kind = KINDS[k]!;
  const m = await OracleMachine.start(lab.folder, `one${k}`, kind);
  try {
    const c = generate(Number(process.env['SEED']), { mode: kind.mode, cap: m.cap, ecap: m.ecap });
    const { ours, theirs } = await compare(m, c);
    const h = (x: unknown) =>
      JSON.stringify(x, (_, v) => (typeof v === 'bigint' ? '0x' + v.toString(16) : v));
    if (process.env['WORDS'])
      console.log(c.words.map(([a, w]) => `${a.toString(16)} ${w.toString(16)}`).join('\n'));
    console.log(
      c.operations
        .map((o, i) => {
          const a = h(ours.operations[i]),
            b = h(theirs.operations[i]);
          return `${i} ${h(o)}\n     ${a}${a === b ? '' : '\n  !! ' + b}`;
        })
        .join('\n'),
    );
  } finally {
    await m.end();
  }
}, 300000);
