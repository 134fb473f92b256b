/** The errors of this folder, by what a user can do about them. */
import { TramontaneError } from '../errors';

/** What was asked for cannot be meant. */
export function invalid(message: string, options?: ErrorOptions): TramontaneError {
  return new TramontaneError('INVALID_OPTION', message, options);
}

/** What was asked for does not exist. */
export function missing(message: string): TramontaneError {
  return new TramontaneError('FILE_NOT_READABLE', message);
}

/** It exists, and is not for this user. */
export function denied(message: string): TramontaneError {
  return new TramontaneError('ACCESS_DENIED', message);
}

/** The network, the server, or bytes that came damaged. */
export function failed(message: string, options?: ErrorOptions): TramontaneError {
  return new TramontaneError('DOWNLOAD_FAILED', message, options);
}
