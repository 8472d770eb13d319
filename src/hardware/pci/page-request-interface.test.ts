/** The page request interface: what may be asked, which answers count, what stops it. */
import { beforeEach, describe, expect, test } from 'vitest';
import { PRI_CAPABILITY } from '../../spec/index.js';
import { NONE } from '../cache/slots.js';
import { RIGHT } from '../paging/step.js';
import { ConfigSpace } from './config-space.js';
import { PageRequestInterface } from './page-request-interface.js';
import { PAGE_RESPONSE, type PageRequest, type Upstream } from './ports.js';

const RID = 0x18;
const CONTROL = 0x104;
const STATUS = 0x106;
const [RESPONSE_FAILURE, UNEXPECTED, STOPPED] = [1, 2, 0x100];

let sent: PageRequest[];
let config: ConfigSpace;
let pri: PageRequestInterface;

beforeEach(() => {
  sent = [];
  const upstream = {
    requestPage: (request: PageRequest) => sent.push({ ...request }),
  } as unknown as Upstream;
  config = new ConfigSpace({
    ...{ vendor: 1, device: 2, classCode: 3, pri: { capacity: 4 } },
    changed: () => pri.controlChanged(),
  });
  pri = new PageRequestInterface({ rid: RID, config, upstream });
  config.write(CONTROL + 8, 4, 3);
  config.write(CONTROL, 2, 1);
});

const answer = (group: number, code: number = PAGE_RESPONSE.SUCCESS, pasid = 5): boolean =>
  pri.take({ rid: RID, pasid, group, code });

test('asks while software allows, each time in a group of its own', () => {
  expect([1, 2, 3, 4].map((page) => pri.ask(5, page, RIGHT.READ))).toEqual([0, 1, 2, NONE]);
  expect(sent[1]).toEqual({ rid: RID, pasid: 5, page: 2, rights: RIGHT.READ, group: 1, isLast: true });
  expect([sent.length, pri.outstanding]).toEqual([3, 3]);
  answer(1);
  expect([pri.ask(5, 9, RIGHT.READ), pri.outstanding]).toEqual([3, 3]);
});

test('no group is used while it is outstanding', () => {
  expect(pri.ask(5, 0, RIGHT.READ)).toBe(0);
  for (let i = 1; i < 512; i++) expect(answer(pri.ask(5, i, RIGHT.READ))).toBe(true);
  expect(pri.ask(5, 600, RIGHT.READ)).toBe(1);
});

describe('an answer', () => {
  test.each([
    ['to no group', 7, 5],
    ['to a group of another PASID', 0, 6],
  ])('%s is told as unexpected', (_, group, pasid) => {
    pri.ask(5, 1, RIGHT.READ);
    expect(answer(group, PAGE_RESPONSE.SUCCESS, pasid)).toBe(false);
    expect([config.read(STATUS, 2) & UNEXPECTED, pri.outstanding]).toEqual([UNEXPECTED, 1]);
    config.write(STATUS, 2, UNEXPECTED);
    expect(config.read(STATUS, 2) & UNEXPECTED).toBe(0);
  });

  test('counts once', () => {
    const group = pri.ask(5, 1, RIGHT.READ);
    expect([answer(group), answer(group)]).toEqual([true, false]);
  });

  test('"invalid request" stops nothing; "failure", or a code that does not exist, stops the interface', () => {
    expect(answer(pri.ask(5, 1, RIGHT.READ), PAGE_RESPONSE.INVALID_REQUEST)).toBe(true);
    expect(pri.canAsk).toBe(true);
    const [first, second] = [pri.ask(5, 2, RIGHT.READ), pri.ask(5, 3, RIGHT.READ)];
    answer(first, 0x7);
    expect([pri.ask(5, 4, RIGHT.READ), config.read(STATUS, 2) & (RESPONSE_FAILURE | STOPPED)]).toEqual([
      NONE,
      1,
    ]);
    answer(second);
    expect(config.read(STATUS, 2) & STOPPED).toBe(STOPPED);
    config.write(CONTROL, 2, 0);
    config.write(CONTROL, 2, 1);
    expect([pri.canAsk, config.read(STATUS, 2) & STOPPED]).toEqual([true, 0]);
  });
});

test('disabled, it stops once all is answered; a reset forgets what is outstanding', () => {
  const group = pri.ask(5, 1, RIGHT.READ);
  pri.mark();
  config.mark();
  config.write(CONTROL, 2, 0);
  expect([pri.ask(5, 2, RIGHT.READ), config.read(STATUS, 2) & STOPPED]).toEqual([NONE, 0]);
  config.write(CONTROL, 2, 2);
  expect([pri.outstanding, config.read(STATUS, 2) & STOPPED, config.getPri(PRI_CAPABILITY.RESET)]).toEqual([
    0,
    STOPPED,
    0,
  ]);
  expect(answer(group)).toBe(false);
  pri.restore();
  config.restore();
  expect([pri.outstanding, answer(group)]).toEqual([1, true]);
});

test('a stop marker asks for nothing', () => {
  pri.sendStopMarker(5);
  expect(sent).toEqual([{ rid: RID, pasid: 5, page: 0, rights: 0, group: 0, isLast: true }]);
  expect(pri.outstanding).toBe(0);
});
