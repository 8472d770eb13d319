import { expect, test } from 'vitest';
import { UndoLog } from '../base/index.js';
import { HOT_PLUG } from '../spec/index.js';
import { SlotController } from './slots.js';

function rig() {
  const messages: number[] = [];
  const ejected: number[] = [];
  const controller = new SlotController(new UndoLog(), {
    name: 'vm1',
    message: (_address, data) => void messages.push(data),
    ejected: (slot) => void ejected.push(slot),
  });
  return { controller, messages, ejected };
}

test('tells what has come until it is read, and what is to go until the guest has let go', () => {
  const { controller, messages } = rig();
  controller.come(5);
  expect(messages).toEqual([]);
  controller.route({ address: 0xfee0_0000, data: 0x41 });
  controller.come(6);
  controller.go(7);
  expect(messages).toEqual([0x41, 0x41]);
  expect([controller.read32(HOT_PLUG.UP), controller.read32(HOT_PLUG.UP)]).toEqual([0x60, 0]);
  expect([controller.read32(HOT_PLUG.DOWN), controller.read32(HOT_PLUG.DOWN)]).toEqual([0x80, 0x80]);
  expect([controller.isAsked(7), controller.isAsked(5)]).toEqual([true, false]);
});

test('hears that the guest has let go of what it was asked for, once, and of nothing else', () => {
  const { controller, ejected } = rig();
  controller.go(7);
  controller.go(31);
  controller.write32(HOT_PLUG.EJECT, -1);
  controller.write32(HOT_PLUG.EJECT, -1);
  controller.write32(HOT_PLUG.DOWN, -1);
  expect(ejected).toEqual([7, 31]);
  expect([controller.read32(HOT_PLUG.DOWN), controller.isAsked(7)]).toEqual([0, false]);
});

test('what comes and goes before the guest looks has not come', () => {
  const { controller } = rig();
  controller.come(5);
  controller.go(5);
  const words = new Int32Array(2);
  controller.read64(HOT_PLUG.UP, words);
  expect([...words]).toEqual([0, 0x20]);
});
