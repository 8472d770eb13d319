import { describe, expect, it } from 'vitest';
import { FakePlatform, fakeContext, finish, runAll } from '../../../test/kernel/fake-platform.js';
import { type Refusal, refuse, type Task } from '../../base/index.js';
import { Pasid } from '../ids.js';
import { Attachment, type IommuDevice } from './device.js';
import type { FirstStageDomain } from './domain.js';
import type { IommuDriver, PageRequest } from './driver.js';
import { PageRequests } from './page-requests.js';

const RID = 0x6a08;
const PASID = Pasid.of(5);
const REQUEST: PageRequest = {
  ...{ rid: RID, pasid: PASID, page: 16, read: true, write: false, execute: false, privileged: false },
  ...{ group: 3, isLast: true },
};

function machine() {
  const context = fakeContext(new FakePlatform());
  const answers: string[] = [];
  const served: number[] = [];
  const domain: FirstStageDomain = {
    ...{ type: 'first-stage', name: 'p', root: 0, levels: 4, largestLeaf: 1, writeBack() {} },
    *handleFault(page): Task<Refusal<'EFAULT'> | undefined> {
      yield 'fault';
      served.push(page);
      return page === 99 ? refuse('EFAULT', 'page 99') : undefined;
    },
  };
  const driver = {
    *respond({ group }, response): Task<undefined> {
      yield 'respond';
      answers.push(`${group}: ${response}`);
    },
    *flushNew(): Task<undefined> {
      yield 'flush';
    },
    *drainPageRequests(): Task<undefined> {
      yield 'drain';
    },
  } as Partial<IommuDriver> as IommuDriver;
  const device = { rid: RID, name: '6a:01.0', driver, pri: true } as Partial<IommuDevice> as IommuDevice;
  const attachment = new Attachment(context, device, { pasid: PASID, domain });
  const requests = new PageRequests(context, ({ rid, pasid }) =>
    rid === RID && pasid === PASID ? attachment : undefined,
  );
  const receive = (...list: Partial<PageRequest>[]): void => {
    for (const each of list) finish(context.tasks, requests.receive(driver, { ...REQUEST, ...each }));
  };
  return { context, answers, served, attachment, requests, driver, receive };
}

describe('page requests', () => {
  it('are served as a group, once, when its last one has come', () => {
    const { receive, answers, served } = machine();
    receive({ isLast: false }, { page: 17, isLast: false }, { page: 20, group: 4 });
    expect(answers).toEqual(['4: success']);
    receive({ page: 18 });
    expect([served, answers]).toEqual([
      [20, 16, 17, 18],
      ['4: success', '3: success'],
    ]);
  });

  it.each([
    ['a PASID that is gone', { pasid: Pasid.of(6) }],
    ['no PASID', { pasid: undefined }],
    ['a device that is gone', { rid: 1 }],
    ['an address that is not there', { page: 99 }],
    ['a privileged access', { privileged: true }],
  ])('are answered "invalid request": %s', (_what, request) => {
    const { receive, answers } = machine();
    receive(request);
    expect(answers).toEqual(['3: invalid request']);
  });

  it('are not answered where nothing was asked', () => {
    const { receive, answers, served } = machine();
    receive({ read: false });
    expect([answers, served]).toEqual([[], []]);
  });

  it('that are outstanding or still come are answered by the host once the binding is on its way out', () => {
    const { context, requests, attachment, driver, answers, served, receive } = machine();
    const pending = { ...REQUEST, group: 1 };
    context.tasks.spawn('queue', requests.receive(driver, pending));
    context.tasks.step({ choose: () => 0 });
    expect(attachment.requests?.serving).toBe(1);
    attachment.change().dying = true;
    const drain = function* (): Task {
      yield* requests.drain(attachment);
      answers.push('drained');
    };
    context.tasks.spawn('drain', drain());
    runAll(context.tasks);
    expect([attachment.requests?.serving, answers, served]).toEqual([
      0,
      ['1: invalid request', 'drained'],
      [],
    ]);
    receive({ group: 2 });
    expect(answers.at(-1)).toBe('2: invalid request');
  });

  it('of a group that never ended are forgotten by a drain', () => {
    const { context, requests, attachment, receive, answers, served } = machine();
    receive({ isLast: false });
    finish(context.tasks, requests.drain(attachment));
    receive({ page: 20 });
    expect([served, answers]).toEqual([[20], ['3: success']]);
  });
});
