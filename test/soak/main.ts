// `npm run soak`: one long run. Status 0 when it held, 1 when it did not, 2 for a bad option.

import { parseArgs } from 'node:util';
import { type SoakOptions, soak } from './soak.ts';

const HELP = `Usage: npm run soak -- [options]

  --proxy-mode=nftables   or iptables
  --minutes=20            of changes
  --services=2000
  --changes=200           a second
  --seed=NUMBER           to repeat the changes of another run`;

function readOptions(args: readonly string[]): SoakOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      'proxy-mode': { type: 'string', default: 'nftables' },
      minutes: { type: 'string', default: '20' },
      services: { type: 'string', default: '2000' },
      changes: { type: 'string', default: '200' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    },
  });
  const mode = values['proxy-mode'];
  if (mode !== 'nftables' && mode !== 'iptables') throw new Error(`--proxy-mode: no such mode: ${mode}`);
  const number = (name: 'minutes' | 'services' | 'changes' | 'seed', max: number): number => {
    const value = Number(values[name]);
    if (!(value > 0 && value <= max))
      throw new Error(`--${name}: ${values[name]} is not a number up to ${max}`);
    return value;
  };
  return {
    mode,
    seconds: number('minutes', 10_000) * 60,
    services: Math.ceil(number('services', 50_000)),
    changesPerSec: number('changes', 5000),
    seed: Math.ceil(number('seed', 2 ** 32)),
    checkpoints: 10,
  };
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help')) {
    console.log(HELP);
    return 0;
  }
  let options: SoakOptions;
  try {
    options = readOptions(args);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    return 2;
  }
  const startMs = performance.now();
  const { figures, problems } = await soak(options, (line) => {
    console.log(`${String(Math.round((performance.now() - startMs) / 1000)).padStart(6)} s  ${line}`);
  });
  console.log(`\n${figures.join('\n')}\n`);
  for (const problem of problems) console.error(`FAILED: ${problem}`);
  console.log(problems.length === 0 ? 'It held.' : `${problems.length} problems.`);
  return problems.length === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
