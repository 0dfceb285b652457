//! The OpenAPI document: what the handlers say of themselves, and what holds for all of them.

use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem, PathsMap};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, Info, License, ObjectBuilder, Required, SecurityRequirement};
use utoipa::openapi::{ContentBuilder, HeaderBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder, Type};
use utoipa::{PartialSchema, ToResponse, ToSchema};

use super::error::{Dialect, OpenAiError, TeiError};
use super::measured::{COMPUTE_HEADERS, WARNING};
use super::{ErrorBody, ErrorCode, routes};

/// The errors that any operation may answer with, whatever it does: the layers round the router give them.
const EVERYWHERE: [(&str, &str); 3] =
    [("401", Unauthorized::NAME), ("500", Internal::NAME), ("503", Unavailable::NAME)];

/// The document of the whole service.
#[must_use]
pub fn document() -> OpenApi {
    let mut document = routes::all().into_openapi();
    // The router's sign for a parameter that holds slashes has no meaning in OpenAPI.
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    add_routes_of_models(&mut document.paths.paths);
    document.info = Info::new("Matryo", env!("CARGO_PKG_VERSION"));
    document.info.description = Some("Fine-tunes text-embedding models and serves the result.".into());
    document.info.license = Some(License::new("Apache-2.0"));
    let components = document.components.get_or_insert_with(Components::new);
    add_errors(components);
    components.add_security_scheme(
        "bearer",
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("Where the server was started with an API key."))
                .build(),
        ),
    );
    let header =
        ApiKeyValue::with_description("x-api-key", "The same key, for clients that cannot send a bearer token.");
    components.add_security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(header)));
    let none: [&str; 0] = [];
    document.security = Some(vec![
        SecurityRequirement::default(),
        SecurityRequirement::new("bearer", none),
        SecurityRequirement::new("api_key", none),
    ]);
    for (path, item) in &mut document.paths.paths {
        if let Some(post) =
            item.post.as_mut().filter(|_| path == "/" || COMPUTING.iter().any(|end| path.ends_with(end)))
        {
            add_compute_headers(post);
        }
        let dialect = Dialect::of(path);
        for operation in [&mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten() {
            let forbidden = RefOr::Ref(Ref::from_response_name(Forbidden::NAME));
            operation.responses.responses.entry("403".to_owned()).or_insert(forbidden);
        }
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            complete(operation);
            translate_errors(operation, dialect);
        }
    }
    document
}

/// The routes that a model has below an address of its own too, which are registered without a description, and what they
/// are called there.
const OF_MODEL: [(&str, &str); 7] = [
    ("/", ""),
    ("/embed", "/embed"),
    ("/embed_all", "/embed_all"),
    ("/similarity", "/similarity"),
    ("/tokenize", "/tokenize"),
    ("/decode", "/decode"),
    ("/info", "/info"),
];
/// Ends of the paths whose answers tell what they took.
const COMPUTING: [&str; 5] = ["/embed", "/embed_all", "/similarity", "/embeddings", "/models/{model}"];

/// Describes the routes below a model's own address: they are as those at the root, and the path names the model.
fn add_routes_of_models(paths: &mut PathsMap<String, PathItem>) {
    for (path, end) in OF_MODEL {
        let Some(mut item) = paths.get(path).cloned() else { continue };
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            operation.operation_id = operation.operation_id.as_ref().map(|id| format!("{id}_of_model"));
            let model = ParameterBuilder::new()
                .name("model")
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some("What is written as `model` elsewhere; slashes may stand as they are."))
                .schema(Some(ObjectBuilder::new().schema_type(Type::String)));
            operation.parameters.get_or_insert_default().push(model.build().into());
        }
        paths.insert(format!("{}{end}", routes::OF_MODEL), item);
    }
}

/// The headers of an answer that was computed.
fn add_compute_headers(operation: &mut Operation) {
    let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200") else { return };
    let header = |kind: Type, text: &str| {
        let schema = ObjectBuilder::new().schema_type(kind).build();
        HeaderBuilder::new().schema(Some(schema)).description(Some(text)).build()
    };
    for name in COMPUTE_HEADERS {
        let built = match name {
            "x-compute-type" => header(Type::String, "What computed it."),
            "x-compute-characters" => header(Type::Integer, "Characters of all texts."),
            "x-compute-tokens" => header(Type::Integer, "Tokens of all texts."),
            _ => header(Type::Integer, "Milliseconds."),
        };
        response.headers.insert(name.to_owned(), built.into());
    }
    let warning = header(Type::String, "What is odd: embeddings cut to a length at which the model was not trained.");
    response.headers.insert(WARNING.as_str().to_owned(), warning.into());
}

fn complete(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        // The format wants one, and most answers are described by their schema.
        if response.description.is_empty() {
            response.description = "The answer.".into();
        }
        // A schema would be that of the whole stream, and OpenAPI 3.1 has no words for its events.
        if let Some(RefOr::T(stream)) = response.content.get_mut("text/event-stream") {
            stream.schema = None;
        }
    }
    for (status, name) in EVERYWHERE {
        let response = RefOr::Ref(Ref::from_response_name(name));
        operation.responses.responses.entry(status.to_owned()).or_insert(response);
    }
}

/// Has an operation's errors be those of its path's dialect.
fn translate_errors(operation: &mut Operation, dialect: Dialect) {
    let responses = std::mem::take(&mut operation.responses.responses);
    for (status, response) in responses {
        let code = match &response {
            RefOr::Ref(reference) => error_code(reference),
            RefOr::T(_) => None,
        };
        let (status, response) = match code {
            Some((name, code)) => {
                let reference = Ref::from_response_name(format!("{}{name}", prefix(dialect)));
                (dialect.status(code).as_str().to_owned(), RefOr::Ref(reference))
            }
            None => (status, response),
        };
        // Two may have the same status here; both are of the same shape, and the first is as good.
        operation.responses.responses.entry(status).or_insert(response);
    }
}

/// What the names of a dialect's error responses begin with.
fn prefix(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Native => "",
        Dialect::Tei => "Tei",
        Dialect::OpenAi => "OpenAi",
    }
}

fn error_response(description: &str, dialect: Dialect) -> ResponseBuilder {
    let schema = match dialect {
        Dialect::Native => ErrorBody::name(),
        Dialect::Tei => TeiError::name(),
        Dialect::OpenAi => OpenAiError::name(),
    };
    let schema = RefOr::Ref(Ref::from_schema_name(schema));
    ResponseBuilder::new()
        .description(description)
        .content("application/json", ContentBuilder::new().schema(Some(schema)).build())
}

fn retry_after() -> utoipa::openapi::Header {
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).build();
    HeaderBuilder::new().schema(Some(seconds)).description(Some("Seconds after which to try again.")).build()
}

/// Declares the error responses. A handler names those that it gives itself: `(status = 404, response = NotFound)`.
macro_rules! errors {
    ($($name:ident = $code:ident: $description:literal $(, header $header:literal = $value:expr)?;)*) => {
        $(
            #[doc = $description]
            #[derive(Debug)]
            pub(super) struct $name;

            impl $name {
                const NAME: &str = stringify!($name);

                fn build(dialect: Dialect) -> Response {
                    let builder = error_response($description, dialect);
                    $(let builder = builder.header($header, $value);)?
                    builder.build()
                }
            }

            impl<'r> ToResponse<'r> for $name {
                fn response() -> (&'r str, RefOr<Response>) {
                    (Self::NAME, RefOr::T(Self::build(Dialect::Native)))
                }
            }
        )*

        /// The error response that a reference names.
        fn error_code(reference: &Ref) -> Option<(&'static str, ErrorCode)> {
            match reference.ref_location.rsplit('/').next() {
                $(Some(stringify!($name)) => Some((stringify!($name), ErrorCode::$code)),)*
                _ => None,
            }
        }

        fn add_errors(components: &mut Components) {
            for dialect in [Dialect::Native, Dialect::Tei, Dialect::OpenAi] {
                $(
                    let name = format!("{}{}", prefix(dialect), $name::NAME);
                    components.responses.insert(name, $name::build(dialect).into());
                )*
            }
            let mut schemas = vec![
                (ErrorBody::name().into_owned(), ErrorBody::schema()),
                (TeiError::name().into_owned(), TeiError::schema()),
                (OpenAiError::name().into_owned(), OpenAiError::schema()),
            ];
            ErrorBody::schemas(&mut schemas);
            TeiError::schemas(&mut schemas);
            OpenAiError::schemas(&mut schemas);
            for (name, schema) in schemas {
                components.schemas.entry(name).or_insert(schema);
            }
        }
    };
}

errors! {
    Malformed = MalformedRequest: "The request is not what it claims to be, such as JSON that does not parse.";
    Empty = Empty: "The request is not what it claims to be, or empty.";
    Forbidden = Forbidden: "A browser asks for it at another site's wish.";
    Unauthorized = Unauthorized: "The API key is missing or wrong.";
    NotFound = NotFound: "There is no such thing.";
    NotAcceptable = NotAcceptable: "None of the content types that the client accepts is offered.";
    Timeout = RequestTimeout: "The request's body did not arrive in time.";
    Conflict = Conflict: "The state of things forbids it; the message says what to do.";
    PreconditionFailed = PreconditionFailed: "The thing is not the one that the condition names.";
    TooLarge = TooLarge: "The body, or something in it, exceeds a limit.";
    UnsupportedMediaType = UnsupportedMediaType: "The body's content type is not understood.";
    RangeNotSatisfiable = RangeNotSatisfiable: "The range lies outside the file.";
    Invalid = Invalid: "Values are wrong; the details list all of them.";
    ModelFailed = InferenceFailed: "The model cannot be read or broke down on the request.";
    TooManyRequests = TooManyRequests: "Too much waits already.", header "retry-after" = retry_after();
    Internal = Internal: "A fault of the server, which its log explains.";
    Unavailable = Unavailable: "The server cannot do it now.", header "retry-after" = retry_after();
    DiskFull = DiskFull: "The disk of the data directory is full.";
}
