//! What a connection is to those who read and write on it.

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection, in clear or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}
