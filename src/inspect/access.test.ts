import { expect, test } from 'vitest';
import { accessText, isPrivileged } from './access.js';

test.each([
  { rights: 1, canExecute: true, text: 'r' },
  { rights: 2, canExecute: true, text: 'w' },
  { rights: 7, canExecute: true, text: 'rwx' },
  { rights: 7, canExecute: false, text: 'rw' },
  { rights: 4, canExecute: false, text: '' },
])('$rights is $text where execution is $canExecute', ({ rights, canExecute, text }) => {
  expect(accessText(rights, canExecute)).toBe(text);
  expect([isPrivileged(rights), isPrivileged(rights | 8)]).toEqual([true, false]);
});
