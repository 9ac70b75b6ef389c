import type { MessageTemplate } from '../texts/message';

export const MESSAGES: Readonly<Record<string, MessageTemplate>> = {};
