// The public face of the package.
export { createClient } from './client';
export { StarlingError } from './error';
export type { Channel, ChannelEvents, Client, ClientEvents, Latest, Notifications, Presence, Typing } from './api';
export type {
    ChannelMap, ChannelOptions, ChannelState, ChannelTypes, ClientOptions, Clock, ConnectionState, ConnectionView, DataOf, EventsOf, Gap, History,
    HistoryOptions, Member, Message, MessageOf, Notification, Position, PresenceChange, PresenceOf, PublishOptions, Published, Register, Registered, StarlingErrorLike, TokenSource, Transport,
    TransportHandlers, TransportLink, TypesOf, Untyped,
} from './types';
