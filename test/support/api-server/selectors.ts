// Label and field selectors as the API server evaluates them, as far as node daemons use them.

import type { ApiObject } from './object-store.ts';

export type Predicate = (object: ApiObject) => boolean;

/** @throws Error with the API server's wording for a selector it would refuse. */
export function parseSelectors(labelSelector: string, fieldSelector: string): Predicate {
  const predicates = [
    ...terms(labelSelector).map((term) => parseTerm(term, labelReader)),
    ...terms(fieldSelector).map((term) => parseTerm(term, fieldReader)),
  ];
  return (object) => predicates.every((predicate) => predicate(object));
}

function terms(selector: string): string[] {
  return selector === '' ? [] : selector.split(',');
}

type Read = (object: ApiObject) => string | undefined;

function parseTerm(term: string, readerOf: (name: string) => Read): Predicate {
  const match = /^(!?)([\w./-]+)(?:(==?|!=)(.*))?$/.exec(term);
  if (match === null) throw new Error(`unable to parse requirement: ${JSON.stringify(term)}`);
  const [, not, name, operator, value] = match as unknown as [string, string, string, string?, string?];
  const read = readerOf(name);
  if (operator === undefined) return (object) => (read(object) === undefined) === (not === '!');
  return (object) => (read(object) === value) === (operator !== '!=');
}

function labelReader(name: string): Read {
  return (object) => object.metadata.labels?.[name];
}

const FIELDS: Record<string, Read> = {
  'metadata.name': (object) => object.metadata.name,
  'metadata.namespace': (object) => object.metadata.namespace ?? '',
  'spec.clusterIP': (object) => (object['spec'] as { clusterIP?: string } | undefined)?.clusterIP ?? '',
  'spec.type': (object) => (object['spec'] as { type?: string } | undefined)?.type ?? '',
};

function fieldReader(name: string): Read {
  const read = FIELDS[name];
  if (read === undefined) throw new Error(`field label not supported: ${name}`);
  return read;
}
