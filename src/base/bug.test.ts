import { describe, expect, it } from 'vitest';
import { assert, Bug, unreachable } from './bug.js';

describe('assert', () => {
  it('lets pass what holds', () => {
    expect(() => assert(true, 'never told')).not.toThrow();
  });

  it('throws a Bug that says what does not hold', () => {
    expect(() => assert(false, 'the table is published')).toThrow(new Bug('the table is published'));
  });

  it('tells the compiler what holds from there on', () => {
    const value: string | undefined = ['a'][0];
    assert(value !== undefined, 'there is one');
    expect(value.length).toBe(1);
  });
});

describe('Bug', () => {
  it('is an error with a name of its own', () => {
    expect(new Bug('x')).toBeInstanceOf(Error);
    expect(String(new Bug('x'))).toBe('Bug: x');
  });
});

describe('unreachable', () => {
  // What the compiler rules out comes here all the same when a value was cast.
  it.each([
    ['FREE', 'no case for "FREE"'],
    [3, 'no case for 3'],
    [5n, 'no case for "5n"'],
    [{ kind: 'iotlb', address: 0x1000n }, 'no case for {"kind":"iotlb","address":"4096n"}'],
  ])('throws a Bug that shows %o', (value, message) => {
    expect(() => unreachable(value as never)).toThrow(new Bug(message));
  });

  it('takes no value that a switch has left over', () => {
    const colours = (colour: 'red' | 'green'): number => {
      switch (colour) {
        case 'red':
          return 1;
        default:
          // @ts-expect-error 'green' is not dealt with
          return unreachable(colour);
      }
    };
    expect(() => colours('green')).toThrow(Bug);
  });
});
