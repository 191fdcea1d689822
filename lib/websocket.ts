/** WebSockets (RFC 6455), both ends: the only importer of `ws`. What is said over them is their users' business. */
export { WebSocket, WebSocketServer } from 'ws'
