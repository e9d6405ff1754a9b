// What takes its time, apart from the rest so that both run at once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cable, client, done, pause, publish, startGateway, until } from './process';

test('thirty seconds without a network: lost is told, then all that was missed comes', async () => {
    const gateway = await startGateway();
    const cable = await Cable.to(gateway);
    const ada = client(cable.url, 'ada', { random: () => 0.3 });
    const doc = ada.channel('doc:1');
    const heard: unknown[] = [];
    const gaps: unknown[] = [];
    let lost = 0;
    ada.on('lost', () => { lost += 1; });
    doc.subscribe((message) => heard.push(message.data));
    doc.on('gap', (gap) => gaps.push(gap));
    await doc.ready();
    cable.cut();
    const numbers = Array.from({ length: 30 }, (_, i) => i);
    const mine = doc.publish('mine');
    for (const n of numbers) { await publish(gateway, 'doc:1', n); await pause(1000); }
    assert.deepEqual([ada.connection.lost, lost], [true, 1]);
    cable.mend();
    await mine;
    await until(() => heard.length === 31, () => `heard ${heard}`, 25_000);
    assert.deepEqual(heard, [...numbers, 'mine']);
    assert.deepEqual(gaps, []);
    assert.equal(ada.connection.lost, false);
    cable.close();
    done(gateway);
});
