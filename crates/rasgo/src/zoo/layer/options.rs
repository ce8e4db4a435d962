//! How the options of a layer become a struct of a model file.

/// Structs of options. What is optional is an [`Option`] that a file need not name and that is not written when it is
/// `None`; a layer's own default holds then. Unknown names are refused.
macro_rules! options {
    ($(
        $(#[$doc:meta])*
        $name:ident {
            required { $($(#[$required_doc:meta])* $required:ident: $required_type:ty,)* }
            optional { $($(#[$optional_doc:meta])* $optional:ident: $optional_type:ty,)* }
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$required_doc])* pub $required: $required_type,)*
            $(
                $(#[$optional_doc])*
                #[serde(skip_serializing_if = "Option::is_none", default)]
                pub $optional: Option<$optional_type>,
            )*
        }

        impl $name {
            /// The required options, and the layer's defaults for the others.
            #[allow(dead_code, reason = "most options come from files alone")]
            pub(in crate::zoo) fn new($($required: $required_type),*) -> Self {
                $name { $($required,)* $($optional: None,)* }
            }
        }
    )*};
}

/// A layer with those of its options, numbers for each axis, that a spec gives.
macro_rules! with_axes {
    ($layer:expr, $spec:ident, $($option:ident)*) => {{
        let mut layer = $layer;
        $(if let Some(axes) = &$spec.$option {
            layer = layer.$option(axes.size(stringify!($option))?);
        })*
        layer
    }};
}

/// A layer with those of its options, plain values, that a spec gives.
macro_rules! with_values {
    ($layer:expr, $spec:ident, $($option:ident)*) => {{
        let mut layer = $layer;
        $(if let Some(value) = $spec.$option {
            layer = layer.$option(value);
        })*
        layer
    }};
}

pub(super) use {options, with_axes, with_values};
