"""USER, PASS, ACCT, REIN, QUIT: who is there, and for how long (RFC 959 section 4.1.1)."""

import asyncio

from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.replies import Reply
from cos_ftp_server.protocol.states import LoginEvent
from cos_ftp_server.server.exchange import Exchange
from cos_ftp_server.server.limits import Full

__all__ = ["handle_acct", "handle_pass", "handle_quit", "handle_rein", "handle_user"]


async def handle_user(exchange: Exchange, argument: str) -> Reply:
    """Begin a login, which ends the one before."""
    session = exchange.session
    session.login.fire(LoginEvent.USER)
    session.log_out()
    session.user = argument
    return replies.NEED_PASSWORD


async def handle_pass(exchange: Exchange, argument: str) -> Reply:
    """Finish a login. What is wrong, user or password, shows neither in the words nor in time."""
    session, services = exchange.session, exchange.services
    session.login.check(LoginEvent.ACCEPTED)
    account = await services.authenticator.authenticate(session.user, argument)
    if account is None:
        return await _refuse(exchange)
    full = services.limits.take_login(account.name, account.max_sessions)
    if full is not None:
        session.log.warning("%s full: login of %r refused", full.value, account.name)
        session.login.fire(LoginEvent.REJECTED)
        session.is_ending = True
        return replies.TOO_MANY_USERS if full is Full.SERVER else replies.TOO_MANY_SESSIONS
    session.login.fire(LoginEvent.ACCEPTED)
    session.log_in(account)
    session.log.info("logged in")
    return replies.LOGGED_IN


async def _refuse(exchange: Exchange) -> Reply:
    session, config = exchange.session, exchange.services.config
    session.login.fire(LoginEvent.REJECTED)
    session.login_failures += 1
    session.log.warning("login failed for user %r", session.user)
    await asyncio.sleep(max(0.0, config.login_failure_delay_seconds - exchange.seconds))
    if session.login_failures >= config.max_login_failures:
        session.is_ending = True
        return replies.TOO_MANY_FAILURES
    return replies.LOGIN_INCORRECT


async def handle_acct(exchange: Exchange, argument: str) -> Reply:
    """Accept an account name; there is no use for one."""
    return replies.SUPERFLUOUS


async def handle_rein(exchange: Exchange, argument: str) -> Reply:
    """Log out and stay connected."""
    exchange.session.login.fire(LoginEvent.REIN)
    exchange.session.log_out()
    return replies.LOGGED_OUT


async def handle_quit(exchange: Exchange, argument: str) -> Reply:
    """Say goodbye, after the end of a running transfer."""
    exchange.session.is_ending = True
    return replies.GOODBYE
