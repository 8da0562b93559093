//! A connection as a stream of bytes.

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection, in clear or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}
