import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lineAt, splitDocuments } from '../../../src/source/manifests/split-documents.ts';

/** Each document with the line it begins on. */
function split(text: string): [number, string][] {
  const bytes = Buffer.from(text);
  return splitDocuments(bytes).map((one) => [lineAt(bytes, one.start), one.text]);
}

describe('splitDocuments', () => {
  it.each<[string, string, [number, string][]]>([
    ['nothing', '', []],
    ['blanks and comments only', '\n# only a comment\n---\n\n--- # another\n...\n', []],
    ['one document', 'a: 1\n', [[1, 'a: 1\n']]],
    [
      'two',
      'a: 1\n---\nb: 2\n',
      [
        [1, 'a: 1\n'],
        [2, '---\nb: 2\n'],
      ],
    ],
    ['a leading marker', '---\na: 1\n', [[1, '---\na: 1\n']]],
    ['a comment before the marker', '# hello\n---\na: 1\n', [[2, '---\na: 1\n']]],
    [
      'empty ones between',
      'a: 1\n---\n---\n# no\n---\nb: 2\n',
      [
        [1, 'a: 1\n'],
        [5, '---\nb: 2\n'],
      ],
    ],
    [
      'content on the marker line',
      '--- {a: 1}\n--- {b: 2}\n',
      [
        [1, '--- {a: 1}\n'],
        [2, '--- {b: 2}\n'],
      ],
    ],
    ['a comment on the marker line', '---  # first\na: 1\n', [[1, '---  # first\na: 1\n']]],
    [
      'CRLF',
      'a: 1\r\n---\r\nb: 2\r\n',
      [
        [1, 'a: 1\r\n'],
        [2, '---\r\nb: 2\r\n'],
      ],
    ],
    [
      'no newline at the end',
      'a: 1\n---\nb: 2',
      [
        [1, 'a: 1\n'],
        [2, '---\nb: 2'],
      ],
    ],
    ['a marker at the very end', 'a: 1\n---', [[1, 'a: 1\n']]],
    [
      'an end marker',
      'a: 1\n...\nb: 2\n',
      [
        [1, 'a: 1\n...'],
        [2, '\nb: 2\n'],
      ],
    ],
    [
      'a directive',
      'a: 1\n...\n%YAML 1.2\n---\nb: 2\n',
      [
        [1, 'a: 1\n...'],
        [2, '\n%YAML 1.2\n---\nb: 2\n'],
      ],
    ],
    ['markers indented in a block scalar', 'a: |\n  ---\n  x\n', [[1, 'a: |\n  ---\n  x\n']]],
    ['dashes that are no marker', 'a: 1\n----\nb: --- \n', [[1, 'a: 1\n----\nb: --- \n']]],
    [
      'characters of several bytes',
      'a: "é→😀"\n---\nb: 2\n',
      [
        [1, 'a: "é→😀"\n'],
        [2, '---\nb: 2\n'],
      ],
    ],
  ])('finds %s', (_, text, documents) => {
    expect(split(text)).toEqual(documents);
  });

  it('loses no content, whatever the text', () => {
    const line = fc.constantFrom('---', '...', 'a: 1', '# c', '', '%YAML 1.2', '  ---', '--- x', '\r');
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), (lines) => {
        const text = lines.join('\n');
        const kept = split(text)
          .map(([, one]) => one)
          .join('\n');
        const contents = (all: string) => all.split('\n').filter((one) => /a: 1|x/.test(one));
        expect(contents(kept)).toEqual(contents(text));
      }),
    );
  });
});
