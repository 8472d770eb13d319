import { test } from 'vitest';
import { findLab } from '../lab/machines.js';
import { generate } from './generate.js';
import { judge } from './judge.js';
import { KINDS, OracleMachine } from './machine.js';
import { compare } from './run.js';

test('explore', async () => {
  const lab = findLab();
  if ('missing' in lab) throw new Error(lab.missing);
  const only = process.env['KIND'];
  const N = Number(process.env['CASES'] ?? 50);
  const F = Number(process.env['FROM'] ?? 0);
  for (const [k, kind] of KINDS.entries()) {
    if (only !== undefined && only !== String(k)) continue;
    const m = await OracleMachine.start(lab.folder, `explore${k}`, kind);
    const hist = new Map<string, [number, string]>();
    let dmas = 0;
    let granted = 0;
    let open = 0;
    const reasons = new Map<string, number>();
    const quirks = new Map<string, number>();
    const t0 = performance.now();
    try {
      for (let seed = F; seed < F + N; seed++) {
        const c = generate(seed, { mode: kind.mode, cap: m.cap, ecap: m.ecap });
        const r = await compare(m, c);
        const v = judge(
          c,
          { cap: m.cap, ecap: m.ecap, hasTransientMappings: kind.options.includes('stale-tm') },
          r,
        );
        dmas += v.dmas;
        open += v.open;
        for (const [q, n] of v.quirks) quirks.set(q, (quirks.get(q) ?? 0) + n);
        c.operations.forEach((op, i) => {
          if (op.do === 'dma') {
            const o = r.ours.operations[i]!;
            if (o['went'] !== 'nowhere' && o['record'] === 'none') granted++;
            const q = /reason 0x\w+/.exec(o['record']!)?.[0] ?? 'none';
            reasons.set(q, (reasons.get(q) ?? 0) + 1);
          }
        });
        const strip = (s: string) =>
          s
            .replaceAll(/page 0x\w+/g, 'page')
            .replaceAll(/rid 0x\w+/g, 'rid')
            .replaceAll(/of 0x\w+/g, 'of')
            .replaceAll(/0x2\w{6}\b/g, 'data');
        for (const d of v.differences) {
          const t =
            d.operation === undefined
              ? `${d.what.slice(0, 12)} `
              : strip(`${d.what}: ${d.ours} | ${d.theirs}`);
          const old = hist.get(t) ?? [0, `seed ${seed} op ${d.operation}`];
          hist.set(t, [old[0] + 1, old[1]]);
        }
      }
    } finally {
      await m.end();
    }
    console.log(
      kind.name,
      'dmas',
      dmas,
      'granted',
      granted,
      'open',
      open,
      JSON.stringify([...quirks]),
      ((performance.now() - t0) / dmas).toFixed(2),
      'ms each',
      JSON.stringify([...reasons]),
      '\n' +
        [...hist]
          .sort((a, b) => b[1][0] - a[1][0])
          .slice(0, 30)
          .map(([t, [n, s]]) => `${n}  ${t}   (${s})`)
          .join('\n'),
    );
  }
}, 300000);
