// Wires the parts of the demo page: one client, three channels.
import { Bell } from './bell';
import { Board } from './board';
import { Client } from './client';
import { Cursors } from './cursors';
import { by_id, copy_buttons, set_text } from './dom';
import { color_of, load_identity, look_of, save_name } from './identity';
import { make_panel, Status } from './page';
import { paint_avatar, People } from './people';
import { Numbers, Tile } from './tile';

const kDocument = 'doc:demo';
const kCursors = 'cursor:demo';
const kDashboard = 'dash:demo';

const identity = load_identity();
const look = { name: identity.name, color: color_of(identity.user) };

const numbers = new Numbers();
const status = new Status(() => client.open());
const client = new Client({
    url: `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/v1/ws`,
    user: identity.user,
    on_state: (state) => status.show(state),
    on_connected: (frame) => {
        bell.on_position(frame.notifications);
        numbers.on_node(frame.nodeId);
        board.on_online();
    },
    on_frame: (frame) => { if (frame.type === 'message') { numbers.on_message(); } else { bell.on_frame(frame); } },
    on_round_trip: (ms) => numbers.on_round_trip(ms),
});

const people = new People(identity.user);
const board = new Board(client, kDocument, identity.user, () => look);
const doc = client.channel(kDocument, {
    presence: look,
    on_message: (message) => board.on_message(message),
    on_fresh: () => void board.read_history(),
    on_people: () => {
        people.show(doc);
        people.show_typing(doc);
        cursors.on_people();
        // Another tab of ours may have changed the name.
        const mine = doc.members.get(identity.user)?.data;
        if (mine !== undefined) { show_me(look_of(identity.user, mine).name); }
    },
    on_typing: () => people.show_typing(doc),
});
const cursors = new Cursors(client, kCursors, identity.user,
                            (user) => doc.members.has(user), (user) => people.look(doc, user));
client.channel(kCursors, { watch: 'none', recover: false, on_message: (message) => cursors.on_message(message) });

const tile = new Tile(client, kDashboard);
client.channel(kDashboard, {
    watch: 'none',
    on_message: (message) => tile.on_message(message),
    on_fresh: () => void tile.read_history(),
});

const bell = new Bell(client, identity.user, make_panel(by_id('bell'), by_id('bell-panel')));

const name_input = by_id<HTMLInputElement>('name');
const name_panel = make_panel(by_id('me'), by_id('name-panel'));
name_panel.on_open = () => { name_input.value = look.name; name_input.focus(); name_input.select(); };
by_id('name-panel').addEventListener('submit', (event) => {
    event.preventDefault();
    const name = name_input.value.trim();
    if (name === '') { return; }
    save_name(identity.user, name);
    show_me(name);
    client.send({ type: 'presence.update', channel: kDocument, data: look });
    name_panel.close();
});

function show_me(name: string): void {
    look.name = name;
    set_text(by_id('me-name'), name);
    paint_avatar(by_id('me-avatar'), look);
}

show_me(look.name);
copy_buttons();
client.open();
