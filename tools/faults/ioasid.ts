/** Faults of the IOASID core. */
import { type Fault, faultsIn } from './fault.js';

const ioasid = faultsIn('src/ioasid', { tests: ['src/ioasid', 'test/ioasid'] });

export const IOASID_FAULTS: readonly Fault[] = [
  ioasid('a FREE drains before what it has to stop is stopped (B10)', 'holders/work.ts', {
    find: 'const late = isPast || hasNextRound(core, id);',
    replace: 'const late = isPast;',
  }),
  ioasid('the quota of a set never comes back (A1)', 'life/settle.ts', {
    find: 'core.add(COUNTER.available, quota);',
    replace: '',
  }),
  ioasid('an empty set ends under its owner (A2)', 'life/settle.ts', {
    find: 'words[at + SET.ownerGone] === 1 && words[at + SET.used] === 0',
    replace: 'words[at + SET.used] === 0',
  }),
  ioasid('a refused alloc keeps the charge (A4)', 'ids/alloc.ts', {
    find: '    uncharge(core, controller, 1);\n',
    replace: '',
  }),
  ioasid('a custom allocator does not get back what was not used (A4)', 'ids/alloc.ts', {
    find: '    unchooseId(core, id);\n',
    replace: '',
  }),
  ioasid('a reference is given to an id that is being freed (A5)', 'holders/reference.ts', {
    find: 'if (stateOf(core.ids, id) === STATE.FREE_PENDING) return',
    replace: 'if (core.capacity < 0) return',
  }),
  ioasid('the second free of an id announces again', 'ids/alloc.ts', {
    find: 'if (stateOf(core.ids, id) === STATE.FREE_PENDING) return false;',
    replace: '',
  }),
  ioasid('an id that is bound and not held is freed unannounced (A8)', 'tables/id-columns.ts', {
    find: '(holdersOf(ids, id) | boundOf(ids, id) | workOf(ids, id)) !== 0',
    replace: '(holdersOf(ids, id) | workOf(ids, id)) !== 0',
  }),
  ioasid('a put spends the reference of whoever is there (A9)', 'records/reference-list.ts', {
    find: 'words[(reference << 2) + REFERENCE.holder] !== holder',
    replace: 'holder < 0',
  }),
  ioasid('all work of an id is ready at once (A10)', 'records/phases.ts', {
    find: 'if (itemWord(core, item, ITEM.info) === phase) makeReady',
    replace: 'if (itemWord(core, item, ITEM.info) <= 3) makeReady',
  }),
  ioasid('work of a later announcement joins the tear-down under way', 'notify/announce.ts', {
    find: 'core.nextRound = phaseOf(ids, id) > PHASE.stop;',
    replace: 'core.nextRound = phaseOf(ids, id) > PHASE.clear;',
  }),
  ioasid('growing a quota asks for all of it (A15)', 'sets/set.ts', {
    find: 'if (more > available)',
    replace: 'if (quota > available)',
  }),
  ioasid('who throws keeps the others from hearing (A16)', 'notify/announce.ts', {
    find: 'if (error instanceof Bug) core.bug ??= error;',
    replace: 'if (error instanceof Error) throw error;',
  }),
  ioasid('an allocator is taken away over its ids (A17)', 'ids/allocator.ts', {
    find: 'left.length === 0 && index === 0 && live !== 0',
    replace: 'left.length === 0 && index === 1 && live !== 0',
  }),
  ioasid('the handle of a set that is gone still works', 'core/checks.ts', {
    find: 'if (core.sets.handles.at(set.record) !== set) return goneSet(set);',
    replace: '',
  }),
  ioasid('another set may use the id', 'tables/id-columns.ts', {
    find: '(word & STATE_MASK) !== STATE.FREE && word >>> SET_AT === record',
    replace: '(word & STATE_MASK) !== STATE.FREE',
  }),
  ioasid('a late detach erases the new pair of the SPID', 'tables/spid-table.ts', {
    find: 'if (((words[hole + 1] ?? 0) & LOW) !== id) return;',
    replace: 'if ((words[hole + 1] ?? 0) === 0) return;',
  }),
  ioasid('the system is told before the set, whatever the priority', 'notify/announce.ts', {
    find: 'inSystem !== 0 && keyOf(core, inSystem) < keyOf(core, inSet)',
    replace: 'inSystem !== 0',
  }),
  ioasid('BIND is announced for every device', 'ids/spid.ts', {
    find: 'ids.spid.set(id, spidWord(spid, bound + 1));',
    replace: 'ids.spid.set(id, spidWord(spid, bound + 1));\n    announce(core, EVENT.BIND, id);',
  }),
  ioasid('the last put pulls the id from under the announcement', 'life/settle.ts', {
    find: 'if (core.announcing === id) return false;',
    replace: '',
  }),
  ioasid('a limit further up is not looked at', 'limits/controller.ts', {
    find: 'if (current >= (words[base + CONTROLLER.max] ?? 0)) {',
    replace: 'if (at === controller && current >= (words[base + CONTROLLER.max] ?? 0)) {',
  }),
  ioasid('a refusal further up leaves the charges below', 'limits/controller.ts', {
    find: 'for (let done = controller; done !== at;',
    replace: 'for (let done = at; done !== at;',
  }),
  ioasid('the lowest id of the range is missed by the bitmap', 'tables/bitmap.ts', {
    find: '& (-1 << (min & 31))',
    replace: '& (-2 << (min & 31))',
  }),
  ioasid('a handler may free', 'ids/alloc.ts', {
    find: "if (core.lock !== LOCK.none) return deadlock(core, 'freeing');",
    replace: '',
  }),
  ioasid('a change is not written down for the restore', 'tables/bitmap.ts', {
    find: '    bits.touch(index);\n',
    replace: '',
  }),
  ioasid('an entry is lost when the SPID table moves others up', 'tables/spid-table.ts', {
    find: '((place - home) & mask) >= ((place - hole) & mask)',
    replace: '((place - home) & mask) > ((place - hole) & mask)',
  }),
  ioasid('an id in use is handed back to the custom allocator that gave it', 'life/choose.ts', {
    find: 'if (stateOf(core.ids, answer) !== STATE.FREE) {',
    replace: 'if (answer >= min && stateOf(core.ids, answer) !== STATE.FREE) {',
  }),
  ioasid('work of a history that was undone finishes another', 'records/phases.ts', {
    find: 'setItem(core, (item << 3) + ITEM.ticket, core.tickets);',
    replace: 'setItem(core, (item << 3) + ITEM.ticket, item);',
  }),
  ioasid('a replay that goes another way is taken for a handler’s failure', 'core/core.ts', {
    find: 'if (lock === LOCK.handler) this.bug ??= error;',
    replace: '',
  }),
  ioasid('the trace and the faults may change what they are told of', 'core/core.ts', {
    find: 'this.lock = LOCK.allocator;',
    replace: '',
  }),
  ioasid('an event names the SPID of an unbinding that nobody heard', 'notify/announce.ts', {
    find: '    core.unbound = undefined;\n    return settle',
    replace: '    return settle',
  }),
  ioasid('references wrap after 2^31', 'holders/reference.ts', {
    find: '=== MAX_REFERENCES) {',
    replace: '> MAX_REFERENCES) {',
  }),
];
