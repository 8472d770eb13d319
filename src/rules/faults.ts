/**
 * FAULTS: hardware reports only what the scenario earns, and a job ends as the scenario says; what is reported is
 * explained, with process, PASID, device and job.
 */
import type { Answer, FaultFact, Outcome } from './facts.js';
import type { Rule, View } from './rule.js';
import { jobText, listText, numberText, pasidText } from './text.js';

function faulted(fact: FaultFact, { ledger, earned }: View): string | undefined {
  const { name, by, device, pasid, carried, text } = fact;
  if (earned.has(name)) return undefined;
  const whose =
    pasid === undefined
      ? ''
      : ` for ${numberText({ pasid, carried })}, ${pasidText(ledger.pasids.tenure(pasid))}`;
  const jobs = ledger.jobs.pending().filter((job) => job.device === device && job.pasid === pasid);
  const during = jobs.length === 0 ? '' : `; on ${device} then: ${listText(jobs.map(jobText))}`;
  return `${by} reported ${name} of ${device}${whose}: ${text}${during}; the scenario earns no such fault`;
}

function answered(fact: Answer, { ledger }: View): string | undefined {
  const { device, pasid, group, code, request } = fact;
  if (request !== undefined) return undefined;
  const whose = pasidText(ledger.pasids.tenure(pasid));
  return `${device} was answered page group ${group} of ${numberText(fact)}, ${whose}, with code ${code}, and waits for no such group`;
}

function outcome(fact: Outcome): string | undefined {
  const { job, process, queue, expected, outcome, record } = fact;
  if (expected === 'any' || expected === outcome) return undefined;
  return `job ${job} of ${process} on ${queue} ended with ${outcome} (${record}); the scenario says ${expected}`;
}

export const faults: Rule = {
  id: 'FAULTS',
  claim: 'faults appear only where the scenario earns them',
  faulted,
  answered,
  outcome,
  died: ({ process, signal }) => `${process} was killed by ${signal}; the scenario does not say so`,
};
