// The application's own backend, which tells the server whom to trust: it signs with the official `pusher` package.
//
// Clients say who they are in a form field, where a real application would look at the session:
//   user    {"id": …, "info": …, "watchlist": […]} as JSON
//   forge   when set, the signature is made with a wrong secret
//   bare    when set, presence is granted without channel_data (for users who have signed in)
// Channels with "forbidden" in their name are refused.

import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { sdk } from './server.mjs';

export class Backend {
  #server;
  #apps;

  static async start(apps) {
    const backend = new Backend();
    backend.#apps = apps;
    backend.#server = createServer((request, response) => backend.#answer(request, response));
    await new Promise((resolve) => backend.#server.listen(0, '127.0.0.1', resolve));
    return backend;
  }

  /** Where this app's clients ask, for example `/pusher/auth`. */
  url(app, path) {
    return `http://127.0.0.1:${this.#server.address().port}/${app.id}${path}`;
  }

  /** Signs for this app as well. */
  add(app) {
    this.#apps.push(app);
  }

  async stop() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request, response) {
    const [, id, ...path] = request.url.split('/');
    const form = new URLSearchParams(await text(request));
    const app = this.#apps.find((app) => app.id === id);
    const signer = sdk(1, form.has('forge') ? { ...app, secret: 'another secret' } : app);
    const user = JSON.parse(form.get('user') ?? '{}');
    const reply = (status, body) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
    switch (path.join('/')) {
      case 'pusher/auth':
      case 'broadcasting/auth': {
        const channel = form.get('channel_name');
        if (channel.includes('forbidden')) return reply(403, { message: 'Forbidden' });
        const member = channel.startsWith('presence-') && !form.has('bare')
          ? { user_id: user.id, user_info: user.info }
          : undefined;
        return reply(200, signer.authorizeChannel(form.get('socket_id'), channel, member));
      }
      case 'pusher/user-auth':
      case 'broadcasting/user-auth':
        return reply(200, signer.authenticateUser(form.get('socket_id'), {
          id: user.id, user_info: user.info, watchlist: user.watchlist,
        }));
      default:
        return reply(404, { message: `no ${request.url} here` });
    }
  }
}
