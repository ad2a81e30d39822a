// What keeps the last known objects, where that is wanted.

import type { Settings } from '../../config/settings.ts';
import type { Store, StoreChange } from '../../model/store.ts';
import type { Source } from '../../source/source.ts';
import type { Log } from '../log.ts';
import type { Vitals } from '../vitals.ts';
import { Checkpoint } from './checkpoint.ts';

/** `onChange` is told of what the store was given because the source does not answer. */
export function openCheckpoint(
  { stateFolder, nodeName }: Settings,
  source: Source,
  store: Store,
  vitals: Vitals,
  log: Log,
  onChange: (change: StoreChange) => void,
): Checkpoint | undefined {
  if (stateFolder === undefined) return undefined;
  return new Checkpoint({
    folder: stateFolder,
    owner: () => ({ node: nodeName, source: source.description }),
    store,
    log,
    onRestore: (objects, writtenAt) => {
      vitals.restored(writtenAt);
      onChange(store.restore(objects));
    },
    onWritten: (bytes, writtenAt) => vitals.checkpointWritten(bytes, writtenAt),
    onFailure: () => vitals.checkpointFailed(),
  });
}
