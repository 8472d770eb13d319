/** The command on real machines: what their tables map is what their kernels say they mapped. */
import { expect, test } from 'vitest';
import { describeWithGuest, type Kind } from '../../test/lab/guest.js';
import { ioasis } from './run.fixture.js';

const KINDS: readonly { readonly kind: Kind; readonly translation: string }[] = [
  { kind: 'vtd', translation: 'first-stage' },
  { kind: 'vtd-second', translation: 'second-stage' },
  { kind: 'vtd-legacy', translation: 'second-stage' },
];

interface Document {
  readonly devices: readonly {
    readonly bdf: string;
    readonly pasids: readonly {
      readonly pasid: number;
      readonly translation: string;
      readonly ranges: readonly { readonly iova: string; readonly physical: string }[];
    }[];
  }[];
  readonly problems: readonly unknown[];
  readonly changed?: readonly unknown[];
  readonly against: {
    readonly verdict: string;
    readonly differences: readonly unknown[];
    readonly doubts: readonly string[];
  };
}

for (const { kind, translation } of KINDS) {
  describeWithGuest(kind, `inspect on a live ${kind}`, (guest) => {
    const source = (): string => `qmp:${guest().qmp}`;

    test('shows its eight functions, and its kernel log leaves no difference', async () => {
      const { code, out, err } = await ioasis(['inspect', source(), '--against', guest().console, '--json']);
      const { devices, problems, against } = JSON.parse(out) as Document;
      const { differences, doubts } = against;
      expect({ err, problems, differences, doubts }).toEqual({
        err: '',
        problems: [],
        differences: [],
        doubts: [],
      });
      expect(devices.map(({ bdf, pasids }) => [bdf, ...pasids.map((each) => each.translation)])).toEqual(
        ['00:00.0', '00:01.0', '00:02.0', '00:03.0', '00:04.0', '00:1f.0', '00:1f.2', '00:1f.3'].map(
          (bdf) => [bdf, translation],
        ),
      );
      const mapping = devices.map(({ pasids }) => pasids.some(({ ranges }) => ranges.length > 0));
      expect(mapping).toEqual([false, false, false, true, true, true, true, true]);
      expect({ code, verdict: against.verdict }).toEqual({ code: 0, verdict: 'pass' });
    });

    test('translates what it lists, while the guest runs', async () => {
      let devices: Document['devices'] = [];
      const read = async (): Promise<Document['changed']> => {
        const { out } = await ioasis(['inspect', source(), '--running', '--json', '--device', '00:1f.0']);
        const document = JSON.parse(out) as Document;
        devices = document.devices;
        return document.changed;
      };
      // A table of a driver at work may change under the reading, which says so then; at times it rests.
      await expect.poll(read, { timeout: 30_000 }).toEqual([]);
      const range = devices[0]?.pasids[0]?.ranges[0];
      const lines = `00:1f.0 - ${range?.iova} w\n00:1f.0 0 ${range?.iova} r\n`;
      const answers = await ioasis(['inspect', source(), '--translate', '-'], lines);
      const physical = answers.out
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { physical: string }).physical);
      expect(physical).toEqual([range?.physical, range?.physical]);
    });
  });
}
