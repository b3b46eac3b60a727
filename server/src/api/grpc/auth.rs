//! The Auth service: users, roles and logins.
//!
//! All of it goes through the log, reads too, as etcd has it. A password ends here: into the log goes
//! its hash, or, of a login, nothing (CVE-2021-28235).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_auth::{AuthRequest, AuthResponse};
use cairn_proto::etcdserverpb::{
    AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse,
    AuthRoleAddRequest, AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse,
    AuthRoleGetRequest, AuthRoleGetResponse, AuthRoleGrantPermissionRequest,
    AuthRoleGrantPermissionResponse, AuthRoleListRequest, AuthRoleListResponse,
    AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse, AuthStatusRequest,
    AuthStatusResponse, AuthUserAddRequest, AuthUserAddResponse, AuthUserChangePasswordRequest,
    AuthUserChangePasswordResponse, AuthUserDeleteRequest, AuthUserDeleteResponse,
    AuthUserGetRequest, AuthUserGetResponse, AuthUserGrantRoleRequest, AuthUserGrantRoleResponse,
    AuthUserListRequest, AuthUserListResponse, AuthUserRevokeRoleRequest,
    AuthUserRevokeRoleResponse, AuthenticateRequest, AuthenticateResponse,
    InternalAuthenticateRequest, ResponseHeader,
};
use cairn_proto::stored::auth_server::Auth;
use cairn_replica::apply::Outcome;
use cairn_replica::log_request::LogRequest;
use tonic::{Request, Response, Status};

use crate::member::Member;
use crate::member::auth::{Caller, Secret};
use crate::member::error::Error;

/// The Auth service of a member.
#[derive(Clone)]
pub(super) struct AuthService {
    member: Arc<Member>,
}

impl AuthService {
    /// The service of `member`.
    pub(super) const fn new(member: Arc<Member>) -> Self {
        Self { member }
    }

    /// Takes a request through the log.
    async fn ask(&self, request: AuthRequest, caller: &Caller) -> Result<AuthResponse, Status> {
        let request = LogRequest::Auth(request);
        match self.member.propose(request, caller).await? {
            Outcome::Auth(response) => Ok(response),
            _ => Err(mismatch()),
        }
    }

    /// Takes a request through the log that answers nothing but that it is done.
    async fn carry_out<M>(
        &self,
        request: Request<M>,
        to_log: impl FnOnce(M) -> AuthRequest,
    ) -> Result<Option<ResponseHeader>, Status> {
        let caller = Caller::of_request(&request);
        match self.ask(to_log(request.into_inner()), &caller).await? {
            AuthResponse::Done => Ok(self.header()),
            _ => Err(mismatch()),
        }
    }

    /// Takes a question through the log whose answer is names.
    async fn names<M>(
        &self,
        request: Request<M>,
        to_log: impl FnOnce(M) -> AuthRequest,
    ) -> Result<Vec<String>, Status> {
        let caller = Caller::of_request(&request);
        match self.ask(to_log(request.into_inner()), &caller).await? {
            AuthResponse::Names(names) => Ok(names),
            _ => Err(mismatch()),
        }
    }

    fn header(&self) -> Option<ResponseHeader> {
        let revision = self.member.store().current();
        Some(self.member.header(Some(revision)))
    }

    /// The hash that goes into the log in place of a password. Only for root, who alone may set one:
    /// nobody else makes the server compute it.
    async fn hash(&self, password: String, caller: &Caller) -> Result<String, Error> {
        let password = Secret::new(password);
        self.member.check_admin(caller).await?;
        let hash = self.member.auth.passwords.hash(password).await?;
        Ok(STANDARD.encode(hash))
    }

    /// Logs a user in. The password is checked against the rules of one moment; if they are others
    /// when the login is applied, the login counts for nothing and the password is checked again.
    async fn log_in(&self, name: String, password: String) -> Result<String, Error> {
        let auth = &self.member.auth;
        let password = Arc::new(Secret::new(password));
        loop {
            let checked = auth.check_password(&name, &password).await?;
            let simple_token = auth.tokens.draw_letters()?;
            let login = AuthRequest::Authenticate(InternalAuthenticateRequest {
                name: name.clone(),
                simple_token,
                password: String::new(),
            });
            // Whoever logs in is nobody yet, whatever token came with the call.
            let outcome = self
                .member
                .propose(LogRequest::Auth(login), &Caller::NOBODY)
                .await?;
            if let Outcome::Auth(AuthResponse::Authenticated { info, token }) = outcome
                && checked == info.revision()
            {
                return Ok(auth.tokens.issue(&info, token.as_ref())?);
            }
            tracing::info!("revision when password checked became stale; retrying");
        }
    }
}

#[tonic::async_trait]
impl Auth for AuthService {
    async fn auth_status(
        &self,
        request: Request<AuthStatusRequest>,
    ) -> Result<Response<AuthStatusResponse>, Status> {
        let caller = Caller::of_request(&request);
        let question = AuthRequest::AuthStatus(request.into_inner());
        let AuthResponse::Status { enabled, revision } = self.ask(question, &caller).await? else {
            return Err(mismatch());
        };
        Ok(Response::new(AuthStatusResponse {
            header: self.header(),
            enabled,
            auth_revision: revision.get(),
        }))
    }

    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Result<Response<AuthenticateResponse>, Status> {
        let AuthenticateRequest { name, password } = request.into_inner();
        self.member.linearizable().await?;
        let token = self.log_in(name, password).await?;
        Ok(Response::new(AuthenticateResponse {
            header: self.header(),
            token,
        }))
    }

    async fn user_add(
        &self,
        request: Request<AuthUserAddRequest>,
    ) -> Result<Response<AuthUserAddResponse>, Status> {
        let caller = Caller::of_request(&request);
        let mut request = request.into_inner();
        let password = std::mem::take(&mut request.password);
        if request.options.is_none_or(|options| !options.no_password) {
            request.hashed_password = self.hash(password, &caller).await?;
        }
        match self.ask(AuthRequest::AuthUserAdd(request), &caller).await? {
            AuthResponse::Done => Ok(Response::new(AuthUserAddResponse {
                header: self.header(),
            })),
            _ => Err(mismatch()),
        }
    }

    async fn user_change_password(
        &self,
        request: Request<AuthUserChangePasswordRequest>,
    ) -> Result<Response<AuthUserChangePasswordResponse>, Status> {
        let caller = Caller::of_request(&request);
        let mut request = request.into_inner();
        let password = std::mem::take(&mut request.password);
        if !password.is_empty() {
            request.hashed_password = self.hash(password, &caller).await?;
        }
        let change = AuthRequest::AuthUserChangePassword(request);
        match self.ask(change, &caller).await? {
            AuthResponse::Done => Ok(Response::new(AuthUserChangePasswordResponse {
                header: self.header(),
            })),
            _ => Err(mismatch()),
        }
    }

    async fn user_get(
        &self,
        request: Request<AuthUserGetRequest>,
    ) -> Result<Response<AuthUserGetResponse>, Status> {
        let roles = self.names(request, AuthRequest::AuthUserGet).await?;
        let header = self.header();
        Ok(Response::new(AuthUserGetResponse { header, roles }))
    }

    async fn user_list(
        &self,
        request: Request<AuthUserListRequest>,
    ) -> Result<Response<AuthUserListResponse>, Status> {
        let users = self.names(request, AuthRequest::AuthUserList).await?;
        let header = self.header();
        Ok(Response::new(AuthUserListResponse { header, users }))
    }

    async fn role_list(
        &self,
        request: Request<AuthRoleListRequest>,
    ) -> Result<Response<AuthRoleListResponse>, Status> {
        let roles = self.names(request, AuthRequest::AuthRoleList).await?;
        let header = self.header();
        Ok(Response::new(AuthRoleListResponse { header, roles }))
    }

    async fn role_get(
        &self,
        request: Request<AuthRoleGetRequest>,
    ) -> Result<Response<AuthRoleGetResponse>, Status> {
        let caller = Caller::of_request(&request);
        let question = AuthRequest::AuthRoleGet(request.into_inner());
        let AuthResponse::Permissions(perm) = self.ask(question, &caller).await? else {
            return Err(mismatch());
        };
        let header = self.header();
        Ok(Response::new(AuthRoleGetResponse { header, perm }))
    }

    async fn auth_enable(
        &self,
        request: Request<AuthEnableRequest>,
    ) -> Result<Response<AuthEnableResponse>, Status> {
        let header = self.carry_out(request, AuthRequest::AuthEnable).await?;
        Ok(Response::new(AuthEnableResponse { header }))
    }

    async fn auth_disable(
        &self,
        request: Request<AuthDisableRequest>,
    ) -> Result<Response<AuthDisableResponse>, Status> {
        let header = self.carry_out(request, AuthRequest::AuthDisable).await?;
        Ok(Response::new(AuthDisableResponse { header }))
    }

    async fn user_delete(
        &self,
        request: Request<AuthUserDeleteRequest>,
    ) -> Result<Response<AuthUserDeleteResponse>, Status> {
        let header = self.carry_out(request, AuthRequest::AuthUserDelete).await?;
        Ok(Response::new(AuthUserDeleteResponse { header }))
    }

    async fn user_grant_role(
        &self,
        request: Request<AuthUserGrantRoleRequest>,
    ) -> Result<Response<AuthUserGrantRoleResponse>, Status> {
        let header = self
            .carry_out(request, AuthRequest::AuthUserGrantRole)
            .await?;
        Ok(Response::new(AuthUserGrantRoleResponse { header }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<AuthUserRevokeRoleRequest>,
    ) -> Result<Response<AuthUserRevokeRoleResponse>, Status> {
        let header = self
            .carry_out(request, AuthRequest::AuthUserRevokeRole)
            .await?;
        Ok(Response::new(AuthUserRevokeRoleResponse { header }))
    }

    async fn role_add(
        &self,
        request: Request<AuthRoleAddRequest>,
    ) -> Result<Response<AuthRoleAddResponse>, Status> {
        let header = self.carry_out(request, AuthRequest::AuthRoleAdd).await?;
        Ok(Response::new(AuthRoleAddResponse { header }))
    }

    async fn role_delete(
        &self,
        request: Request<AuthRoleDeleteRequest>,
    ) -> Result<Response<AuthRoleDeleteResponse>, Status> {
        let header = self.carry_out(request, AuthRequest::AuthRoleDelete).await?;
        Ok(Response::new(AuthRoleDeleteResponse { header }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<AuthRoleGrantPermissionResponse>, Status> {
        let header = self
            .carry_out(request, AuthRequest::AuthRoleGrantPermission)
            .await?;
        Ok(Response::new(AuthRoleGrantPermissionResponse { header }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<AuthRoleRevokePermissionResponse>, Status> {
        let header = self
            .carry_out(request, AuthRequest::AuthRoleRevokePermission)
            .await?;
        Ok(Response::new(AuthRoleRevokePermissionResponse { header }))
    }
}

/// An answer that does not belong to its request: a fault of ours, told to the one client.
fn mismatch() -> Status {
    Status::internal("the answer does not belong to the request")
}
