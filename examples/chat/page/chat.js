// The chat's page. What is said goes to the server by fetch, and comes back over the socket, to everybody alike.

const byId = (id) => document.getElementById(id);

const me = await (await fetch('/me')).json();
byId('own-name').textContent = me.person.name;

const pusher = new Pusher(me.key, {
  cluster: '',
  wsHost: location.hostname,
  wsPort: location.port || 80,
  wssPort: location.port || 443,
  forceTLS: location.protocol === 'https:',
  enabledTransports: ['ws', 'wss'],
  channelAuthorization: { endpoint: '/auth', transport: 'ajax' },
});

pusher.connection.bind('state_change', ({ current }) => {
  const says = {
    connecting: 'Connecting …',
    unavailable: 'No connection. Trying again …',
    failed: 'This browser cannot connect.',
    // The server has said that it is no use to come back.
    disconnected: 'You are logged out. Reload the page to log in again.',
  }[current];
  byId('state').hidden = !says;
  byId('state').textContent = says ?? '';
});

pusher.subscribe(me.inbox).bind('mention', ({ from, room, text }) => {
  if (room !== current?.id) note(`${from.name} in ${me.rooms.find(({ id }) => id === room).title}: ${text}`);
});

// ---- rooms ------------------------------------------------------------------------------------------------------------

let current;
let channel;

for (const room of me.rooms) {
  const button = element('button', room.title);
  button.dataset.room = room.id;
  button.addEventListener('click', () => enter(room));
  byId('rooms').append(button);
}

function enter(room) {
  if (room === current) return;
  if (channel) pusher.unsubscribe(channel.name);
  current = room;
  for (const button of byId('rooms').children) {
    button.setAttribute('aria-current', button.dataset.room === room.id);
  }
  byId('title').textContent = room.title;
  byId('about').textContent = room.about;
  byId('messages').replaceChildren();
  byId('people').replaceChildren();
  typists.clear();
  showTyping();

  const entered = pusher.subscribe(`presence-${room.id}`);
  channel = entered;
  const here = (handler) => (...args) => { if (channel === entered) handler(...args); };
  // After a reconnect too: then this fetches what was said meanwhile.
  entered.bind('pusher:subscription_succeeded', here(() => { showPeople(); fetchMessages(room); }));
  entered.bind('pusher:subscription_error', here(({ error, status }) => note(error ?? `The room cannot be entered (${status}).`)));
  entered.bind('pusher:member_added', here(showPeople));
  entered.bind('pusher:member_removed', here((member) => { stopped(member.id); showPeople(); }));
  entered.bind('message', here(show));
  entered.bind('client-typing', here((_, { user_id }) => typing(user_id)));
}

function showPeople() {
  const people = [];
  channel.members.each(({ id, info }) => people.push({ id, name: info.name }));
  people.sort((a, b) => a.name.localeCompare(b.name));
  byId('people').replaceChildren(...people.map((person) => {
    const item = element('li');
    item.append(face(person), element('span', person.name));
    return item;
  }));
}

// ---- messages ---------------------------------------------------------------------------------------------------------

async function fetchMessages(room) {
  const response = await fetch(`/rooms/${room.id}/messages`);
  if (response.ok && room === current) (await response.json()).forEach(show);
}

/** Shows a message in its place, once. */
function show(message) {
  const list = byId('messages');
  const after = [...list.children].find((item) => Number(item.dataset.id) >= message.id);
  if (message.room !== current.id || Number(after?.dataset.id) === message.id) return;
  const item = element('li');
  item.dataset.id = message.id;
  item.classList.toggle('own', message.from.id === me.person.id);
  const at = new Date(message.at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const who = message.from.id === me.person.id ? at : `${message.from.name}, ${at}`;
  item.append(face(message.from), element('span', who, 'who'), element('span', message.text, 'text'));
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  list.insertBefore(item, after ?? null);
  if (isAtEnd) list.scrollTop = list.scrollHeight;
  stopped(message.from.id);
}

byId('say').addEventListener('submit', async (event) => {
  event.preventDefault();
  const text = byId('text').value.trim();
  if (!text) return;
  byId('text').value = '';
  const response = await fetch(`/rooms/${current.id}/messages`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ text }),
  }).catch(() => ({ ok: false, text: async () => 'The server cannot be reached.' }));
  if (!response.ok) {
    byId('text').value = text;
    note(await response.text());
  }
});

// ---- who is typing ----------------------------------------------------------------------------------------------------

const TYPING = 3000;

/** Who types, and what ends it. */
const typists = new Map();
let told = 0;

// Straight to the others, past the application: the server only sees that it comes from a member, and says which.
byId('text').addEventListener('input', () => {
  if (Date.now() - told < TYPING / 2 || !channel.subscribed) return;
  told = Date.now();
  channel.trigger('client-typing', {});
});

function typing(id) {
  clearTimeout(typists.get(id));
  typists.set(id, setTimeout(() => stopped(id), TYPING));
  showTyping();
}

function stopped(id) {
  clearTimeout(typists.get(id));
  if (typists.delete(id)) showTyping();
}

function showTyping() {
  const names = [...typists.keys()].map((id) => channel?.members.get(id)?.info.name).filter(Boolean);
  const verb = names.length === 1 ? 'is' : 'are';
  byId('typing').textContent = names.length ? `${names.join(' and ')} ${verb} typing …` : '\u00a0';
}

// ---- small things -----------------------------------------------------------------------------------------------------

function element(name, text = '', className = '') {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

/** A person's initial, in a colour that is always the same. */
function face({ id, name }) {
  const made = element('span', [...name][0].toUpperCase(), 'face');
  const hue = [...id].reduce((sum, character) => (sum * 31 + character.charCodeAt(0)) % 360, 7);
  made.style.setProperty('--hue', hue);
  return made;
}

/** Says something for a moment. */
function note(text) {
  const made = element('p', text);
  byId('notes').append(made);
  setTimeout(() => made.remove(), 5000);
}

enter(me.rooms[0]);
